"""A process that is asked to end before it has begun, or twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from piko.store.schema.migrate import upgrade
from tests.harness.databases import TestDatabase
from tests.harness.processes import ChildProcess, state_of
from tests.harness.programs import PikoProcessFactory
from tests.harness.waiting import wait_until
from tests.runtime.replicas import Replicas, schedule
from tests.runtime.test_life import STUBBORN

NAMESPACE = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child")


def _can_be_process_1() -> bool:
    try:
        return subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


SLOW_IMPORT = """
from piko import PikoApp
import slow
app = PikoApp(name="trial")
if __name__ == "__main__":
    app.run()
"""
SLEEPER = "import os, time\nprint('importing as process', os.getpid(), flush=True)\ntime.sleep(600)\n"

ENTRANCES = {
    "python app.py": ("app.py",),
    "piko run": ("-m", "piko", "run", "app:app"),
    "the operator": ("-m", "piko_operator"),
}


@pytest.mark.skipif(not _can_be_process_1(), reason="this machine lets nobody make a process namespace")
@pytest.mark.parametrize("command", ENTRANCES.values(), ids=ENTRANCES)
def test_a_sigterm_during_the_imports_ends_the_first_process_of_a_container(
    command: tuple[str, ...], piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(SLOW_IMPORT)
    for name in ("slow.py", "kopf.py"):  # what takes long to import: a module of the app, one of the operator
        (tmp_path / name).write_text(SLEEPER)
    outer = piko_process(
        "-c",
        f"import os; os.execvp('unshare', {[*NAMESPACE, sys.executable, *command]!r})",
        env={"PIKO_MYSQL_DSN": f"sqlite+aiosqlite:///{tmp_path}/piko.db", "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
    )
    outer.wait_for_line("importing as process 1")
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGTERM)

    assert outer.wait() == 128 + signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_second_signal_ends_a_stop_at_once_and_says_what_was_cut(
    number: signal.Signals, replicas: Replicas, sqlite: TestDatabase
) -> None:
    await upgrade(sqlite.dsn)
    await schedule(sqlite, "stubborn")
    replicas.write(STUBBORN)
    replica = replicas.start(sqlite.dsn, environment={"PIKO_DRAIN_TIMEOUT_S": "600"})
    replica.process.wait_for_line("stubborn is at it")
    replica.process.signal(number)
    replica.process.wait_for_line('"draining"')

    _signal_until_it_ends(replica.process, number)

    assert replica.process.wait() == 128 + number
    assert "piko: cut off: runs in progress: 1; they count as lost" in replica.process.output


BLOCKED = """
import time
from piko import PikoApp

app = PikoApp(name="trial")

@app.job(job_id="blocked")
async def blocked(ctx, scheduled_time):
    print("blocked from now on", flush=True)
    while True:
        time.sleep(0.1)
"""


async def test_a_second_signal_ends_a_process_whose_event_loop_is_blocked(
    replicas: Replicas, sqlite: TestDatabase
) -> None:
    await upgrade(sqlite.dsn)
    await schedule(sqlite, "blocked")
    replicas.write(BLOCKED)
    replica = replicas.start(sqlite.dsn)
    replica.process.wait_for_line("blocked from now on")
    replica.process.signal(signal.SIGTERM)

    _signal_until_it_ends(replica.process, signal.SIGTERM)

    assert replica.process.wait() == 128 + signal.SIGTERM


async def test_two_signals_of_one_press_are_one(replicas: Replicas, sqlite: TestDatabase) -> None:
    """Ctrl-C reaches a whole process group, and what started the program may end it, too."""
    await upgrade(sqlite.dsn)
    replica = replicas.start(sqlite.dsn)
    await replica.until_ready()
    replica.process.signal(signal.SIGSTOP)  # both are there when it goes on, however late this test sends one
    wait_until(lambda: state_of(replica.process.pid) == "T", what="the process to stand still")
    replica.process.signal(signal.SIGINT)
    replica.process.signal(signal.SIGTERM)
    replica.process.signal(signal.SIGCONT)

    assert replica.process.wait() == 0
    assert '"stopped"' in replica.process.output


@pytest.mark.parametrize("presses", [1, 2])
async def test_piko_dev_does_not_wait_for_a_handler_that_ignores_ctrl_c(
    presses: int, piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    folder = tmp_path / "jobs"
    folder.mkdir()
    (folder / "app.py").write_text(STUBBORN)
    (folder / "stubborn.yaml").write_text(
        "apiVersion: piko.dev/v1\nkind: PikoSchedule\nmetadata: {name: stubborn}\n"
        "spec: {jobId: stubborn, schedule: {interval: {every: 1s}}}\n"
    )
    budget = {"PIKO_DRAIN_TIMEOUT_S": "0.2" if presses == 1 else "600"}
    program = piko_process("-m", "piko", "dev", folder, env=budget)
    program.wait_for_line("stubborn is at it")
    program.signal(signal.SIGINT)
    program.wait_for_line("Ctrl-C again ends them at once")
    if presses == 1:
        assert program.wait() == 0
        assert "handlers that ignored their cancellation: 1" in program.output
        return

    _signal_until_it_ends(program, signal.SIGINT)

    assert program.wait() == 128 + signal.SIGINT
    assert "piko: cut off: runs in progress count as LOST" in program.output


def _signal_until_it_ends(program: ChildProcess, number: signal.Signals) -> None:
    """As an impatient person does."""

    def ended() -> bool:
        program.signal(number)
        return not program.running

    wait_until(ended, what="the process to end", interval=0.3)
