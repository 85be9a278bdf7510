"""Pauses that end by themselves: the leader resumes what is due, once, and says so in the change log."""

from __future__ import annotations

import pytest

from piko.errors import FencedError
from piko.model.changes import Actor
from piko.store.engine import Database
from piko.store.pauses import PauseStore
from tests.harness.databases import TestDatabase
from tests.store.making import lead
from tests.web.rows import add_jobs

LEADER = Actor(who="host", via="leader", reason="paused_until has come")
PAST, FUTURE = "2020-01-01 06:00:00", "2999-01-01 06:00:00"


async def _pause(database: TestDatabase, job_id: str, until: str, *, enabled: int = 0) -> None:
    await database.execute(
        f"UPDATE scheduled_job SET enabled = {enabled}, paused_until = '{until}' WHERE job_id = '{job_id}'"
    )


async def _rows(database: TestDatabase) -> dict[str, tuple[bool, bool]]:
    rows = await database.execute("SELECT job_id, enabled, paused_until FROM scheduled_job")
    return {row[0]: (bool(row[1]), row[2] is not None) for row in rows}


async def test_a_pause_that_is_over_ends_once_and_the_change_log_says_who(
    store: Database, emptied_database: TestDatabase
) -> None:
    await add_jobs(emptied_database, "over", "coming", "open", "resumed")
    await add_jobs(emptied_database, "owned", owner="prod/data/owned/uid")
    for job_id, until in {"over": PAST, "coming": FUTURE, "owned": PAST}.items():
        await _pause(emptied_database, job_id, until)
    await _pause(emptied_database, "resumed", FUTURE, enabled=1)
    await emptied_database.execute("UPDATE scheduled_job SET enabled = 0 WHERE job_id = 'open'")
    pauses, fence = PauseStore(database=store), await lead(store)
    assert await pauses.end(fence, actor=LEADER, limit=10) == ["over"]
    assert await pauses.end(fence, actor=LEADER, limit=10) == []
    assert await _rows(emptied_database) == {
        "over": (True, False),
        "coming": (False, True),
        "open": (False, False),
        "resumed": (True, False),
        "owned": (False, True),
    }
    rows = await emptied_database.execute(
        "SELECT what, who, via, job_id, reason FROM change_log WHERE via <> 'sql'"
    )
    assert [tuple(row) for row in rows] == [("resume", "host", "leader", "over", "paused_until has come")]


async def test_a_deposed_leader_resumes_nothing(store: Database, emptied_database: TestDatabase) -> None:
    await add_jobs(emptied_database, "over")
    await _pause(emptied_database, "over", PAST)
    fence = await lead(store)
    await lead(store, "two")
    with pytest.raises(FencedError):
        await PauseStore(database=store).end(fence, actor=LEADER, limit=10)
    assert await _rows(emptied_database) == {"over": (False, True)}
