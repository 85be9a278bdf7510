"""Runs that end while the database is away: their ends outlive the process, and count once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.harness.database_servers import DatabaseServer
from tests.harness.databases import TestDatabase, migrate
from tests.harness.waiting import wait_until_async
from tests.runtime.replicas import Replica, Replicas, begun_runs, runs, schedule


async def begin(replicas: Replicas, database: TestDatabase, name: str, **environment: str) -> Replica:
    """A replica in whose only run the handler is, until `end_run`."""
    await schedule(database, "slow", max_attempts=5)
    replica = replicas.start(database.dsn, name=name, environment={"SLOW_UNTIL": "set free", **environment})
    replica.process.wait_for_line("slow begins")
    return replica


def end_run(replicas: Replicas, replica: Replica) -> None:
    (replicas.folder / "set free").touch()
    replica.process.wait_for_line("slow ends")


async def of_first(database: TestDatabase) -> list[Any]:
    """State and attempt of each run of the due time that came first."""
    begun = await begun_runs(database, "slow")
    return [row[1:] for row in begun if row[0] == begun[0][0]]


@pytest.mark.parametrize("end", ["kill", "terminate"])
async def test_an_end_that_was_spooled_is_recorded_by_the_next_process(
    end: str, replicas: Replicas, own_mariadb: DatabaseServer
) -> None:
    database = await migrate(await own_mariadb.create_database())
    replica = await begin(replicas, database, "first", PIKO_DRAIN_TIMEOUT_S="1")
    own_mariadb.kill()
    end_run(replicas, replica)
    if end == "kill":
        await replica.until("/metrics", 200, "piko_outcomes_spooled_total 1.0")
        replica.process.kill()
    else:
        assert replica.process.terminate() == 0
        assert "outcomes_left_on_disk" in replica.process.output
    assert spool_files(replicas.folder)
    own_mariadb.start()
    again = replicas.start(database.dsn, name="second", environment={"SLOW_S": "0"})
    await again.until_ready()
    assert await of_first(database) == [("SUCCESS", 1)]
    assert "outcomes_replayed" in again.process.output
    assert 'piko_outcomes_recovered_total{how="recorded"} 1.0' in again.get("/metrics")[1]
    again.process.wait_for_line("slow ends")  # and it goes on
    assert "LOST" not in {row[1] for row in await runs(database, "slow")}
    assert again.process.terminate() == 0
    assert not spool_files(replicas.folder)


async def test_where_ends_cannot_be_kept_on_disk_readiness_says_so_and_nothing_else_breaks(
    replicas: Replicas, own_mariadb: DatabaseServer
) -> None:
    database = await migrate(await own_mariadb.create_database())
    (replicas.folder / "no-folder").write_text("")
    replica = await begin(replicas, database, "first", PIKO_SPOOL_DIR="no-folder")
    own_mariadb.kill()
    end_run(replicas, replica)
    await replica.until("/readyz", 503, "ends of runs cannot be kept on disk, they are in memory only")
    own_mariadb.start()

    async def recorded() -> bool:
        return await of_first(database) == [("SUCCESS", 1)]

    await wait_until_async(recorded, what="the end that was kept in memory")


def spool_files(folder: Path) -> list[Path]:
    return list((folder / ".piko" / "spool").glob("*.outcomes"))
