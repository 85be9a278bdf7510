"""The disk of the spool is full while the database is away: really full, a filesystem without a free byte."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.failures.two_replicas import (
    BOTH_EXECUTORS,
    LONG_LEASE,
    TwoReplicas,
    liveness,
    more_starts,
    roles,
    until_leads,
    until_says,
)
from tests.harness.servers import Servers
from tests.harness.waiting import wait_until_async
from tests.soak.stage import Replica, Stage

LINGERS_S = 8.0


@pytest.fixture
def full_disk(servers: Servers) -> Iterator[Path]:
    """A folder on a small filesystem of its own, with nothing left of it."""
    # In the folder of the run: one that is killed leaves no mount, which no later run of pytest could remove.
    folder = Path(tempfile.mkdtemp(prefix="disk-", dir=servers.folder))
    mounting = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounting.returncode != 0:
        pytest.skip(f"a filesystem can be mounted by root only: {mounting.stderr.strip()}")
    try:
        fill(folder / "of others")
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(os.sysconf("SC_PAGE_SIZE")))
        except OSError:
            return


async def until_memory_is_all_there_is(stage: Stage, replica: Replica) -> None:
    await until_says(stage, replica, 503, "ends of runs cannot be kept on disk, they are in memory only")
    assert await liveness(replica) == 200


async def ended_and_lost(stage: Stage) -> set[str]:
    """Runs whose handlers have ended, and whose ends nobody knows."""
    lost = {row.run_id for row in await stage.rows() if row.state == "LOST"}
    return lost & {note.run_id for note in stage.begun() if note.ended_at is not None}


@pytest.mark.parametrize("executor", BOTH_EXECUTORS)
async def test_ends_of_runs_are_kept_in_memory_and_recorded(
    executor: str, two_replicas: TwoReplicas, full_disk: Path
) -> None:
    environment = {**LONG_LEASE, "PIKO_SPOOL_DIR": str(full_disk / "spool")}
    async with two_replicas(executor=executor, environment=environment) as stage:
        leader, _ = await roles(stage)
        await stage.lingering_run(leader, LINGERS_S)  # it ends when the database is away
        stage.server.kill()
        await until_memory_is_all_there_is(stage, leader)
        await asyncio.to_thread(stage.server.start)
        await roles(stage)
        await more_starts(stage)
        if executor == "leader":  # else a follower that was not heard of may be given up
            assert await ended_and_lost(stage) == set()


async def test_a_replica_that_is_killed_meanwhile_leaves_runs_that_are_given_up(
    two_replicas: TwoReplicas, full_disk: Path
) -> None:
    environment = {"PIKO_SPOOL_DIR": str(full_disk / "spool")}
    async with two_replicas(environment=environment) as stage:
        leader, _ = await roles(stage)
        await stage.lingering_run(leader, LINGERS_S)  # it ends when the database is away
        stage.server.kill()
        await until_memory_is_all_there_is(stage, leader)
        leader.process.kill()
        await asyncio.to_thread(stage.server.start)
        leader.start()
        await roles(stage)
        await more_starts(stage)


async def test_a_disk_that_has_room_again_takes_what_was_in_memory(
    two_replicas: TwoReplicas, full_disk: Path
) -> None:
    environment = {"PIKO_SPOOL_DIR": str(full_disk / "spool")}
    async with two_replicas(environment=environment) as stage:
        leader, follower = await roles(stage)
        await stage.lingering_run(leader, LINGERS_S)  # it ends when the database is away
        stage.server.kill()
        await until_memory_is_all_there_is(stage, leader)
        await wait_until_async(
            lambda: all(note.ended_at for note in stage.begun()), what="every handler to end"
        )
        enlarge(full_disk)
        await wait_until_async(lambda: leaves_the_disk_out(stage, leader), what="the disk to do")
        for replica in (leader, follower):
            replica.process.kill()
        await asyncio.to_thread(stage.server.start)
        leader.start()  # alone: another would give up the runs of a process that has ended
        await until_leads(stage, leader)
        assert "outcomes_replayed" in leader.process.output
        assert await ended_and_lost(stage) == set()


def leaves_the_disk_out(stage: Stage, replica: Replica) -> bool:
    """Whether it is not ready, and not for the disk."""
    last = stage.witness.said_by(replica.name, since=0)[-1]
    return last.status == 503 and "cannot be kept on disk" not in last.text


def enlarge(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=8m", folder], check=True)
