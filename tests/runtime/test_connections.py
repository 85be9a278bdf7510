"""More connections that say nothing than a process has file descriptors, with a job beside them."""

from __future__ import annotations

import resource
from contextlib import ExitStack

import pytest

from tests.harness.databases import TestDatabase, migrate
from tests.runtime.replicas import Replicas, runs, schedule, until_runs
from tests.serving.sockets import connect

HALF_OPEN = 1100
LIMIT = 1024

FILES = """
from piko import PikoApp

app = PikoApp(name="trial")

@app.job(job_id="files")
async def files(ctx, scheduled_time):
    held = [open(__file__) for _ in range(700)]
    for each in held:
        each.close()
"""
"""A job that needs most of the descriptors that a process may have."""


@pytest.fixture
def many_sockets() -> None:
    """This process holds the other ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = HALF_OPEN + 500
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def test_half_open_connections_take_neither_the_jobs_files_nor_the_probes(
    replicas: Replicas, mariadb: TestDatabase, many_sockets: None
) -> None:
    await migrate(mariadb)
    await schedule(mariadb, "files")
    replicas.write(FILES)
    limited = f'ulimit -n {LIMIT}; exec "$0" -m piko run app:app'
    replica = replicas.start(
        mariadb.dsn,
        "-c",
        f"import os, sys; os.execv('/bin/sh', ['sh', '-c', {limited!r}, sys.executable])",
    )
    await replica.until_ready()
    await until_runs(mariadb, "files", 1)
    before = len(replica.process.output.splitlines())

    with ExitStack() as stack:
        for number in range(HALF_OPEN):
            half_a_head = b"GET /healthz HTTP/1.1\r\nHost: x\r\n" if number % 2 else b""
            stack.enter_context(connect(replica.port, half_a_head))
        begun = len(await runs(mariadb, "files", "SUCCESS"))
        # As often as a kubelet asks before it ends a container.
        answers = [replica.get("/healthz") for _ in range(3)]
        assert (200, "ok\n") in answers, "a probe comes through while they last"
        await until_runs(mariadb, "files", begun + 5)
        await replica.until_ready()
    await replica.until("/healthz", 200, "ok\n")

    assert await runs(mariadb, "files", "FAILED") == []
    reported = [line for line in replica.process.output.splitlines()[before:] if "run_" not in line]
    assert len(reported) <= 50, reported[:20]  # of more than a thousand connections
    assert 'why": "full"' in "\n".join(reported)
    assert 'piko_http_connections_dropped_total{why="full"}' in replica.get("/metrics")[1]
    assert replica.process.terminate() == 0
