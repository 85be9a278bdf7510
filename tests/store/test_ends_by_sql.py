"""Ends that a statement brings about get what an end has, once, and nothing else is touched."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import select

from piko.core.types import RunState
from piko.errors import FencedError
from piko.model.backfills import BackfillStep
from piko.model.changes import Actor
from piko.model.fences import Fence
from piko.store.backfills import BackfillStore
from piko.store.ends_by_sql import EndsBySql
from piko.store.engine import Database
from piko.store.run_acts import RunActs
from piko.store.runs import RunStore
from piko.store.schema.migrate import upgrade
from piko.store.schema.tables.backfills import backfill
from tests.harness.databases import TestDatabase
from tests.harness.servers import database_kinds
from tests.harness.statements import sent_to
from tests.store.making import NOW, lead, make_outcome, make_run, minute, opened
from tests.store.test_backfills import _requested, _step

_PERSON = Actor(who="ann", via="cli")


@pytest.fixture
def ends(store: Database) -> EndsBySql:
    return EndsBySql(database=store)


async def _runs(database: TestDatabase) -> dict[str, tuple[Any, ...]]:
    rows = await database.execute("SELECT run_id, state, finished_at IS NULL, error FROM job_run")
    return {run_id: (state, bool(open_), error) for run_id, state, open_, error in rows}


async def _lines(database: TestDatabase) -> list[tuple[str, str, str, Any]]:
    rows = await database.execute("SELECT who, via, what, `before` FROM change_log WHERE what = 'cancel'")
    return [(who, via, what, json.loads(before)) for who, via, what, before in rows]


async def _backfill(database: TestDatabase) -> tuple[Any, ...]:
    (row,) = await database.execute(
        "SELECT state, windows_succeeded, windows_failed, finished_at IS NULL FROM backfill"
    )
    return tuple(row)


async def test_a_run_that_a_statement_cancels_gets_its_time_its_reason_and_one_line(
    emptied_database: TestDatabase, store: Database, ends: EndsBySql
) -> None:
    fence, acts = await lead(store), RunActs(database=store)
    for run_id, state in (
        ("by-sql", RunState.QUEUED),
        ("by-ann", RunState.QUEUED),
        ("left", RunState.QUEUED),
    ):
        await acts.queue(make_run(run_id=run_id, state=state), actor=_PERSON, what="trigger")
    by_ann = await acts.read("by-ann")
    assert by_ann is not None
    await acts.cancel(by_ann, error="ann has cancelled it", actor=_PERSON, now=NOW)
    await emptied_database.execute("UPDATE job_run SET state = 'CANCELLED' WHERE run_id = 'by-sql'")

    assert await ends.complete_runs(fence, now=NOW) == ["by-sql"]
    assert await ends.complete_runs(fence, now=NOW) == []
    assert await _runs(emptied_database) == {
        "by-sql": ("CANCELLED", False, "a statement set its row to CANCELLED"),
        "by-ann": ("CANCELLED", False, "ann has cancelled it"),
        "left": ("QUEUED", True, None),
    }
    assert sorted(await _lines(emptied_database)) == [
        ("ann", "cli", "cancel", {"run_id": "by-ann", "state": "QUEUED"}),
        ("unknown", "sql", "cancel", {"run_id": "by-sql", "state": "QUEUED"}),
    ]


async def _claimed(store: Database, fence: Fence, *steps: BackfillStep) -> None:
    for step in steps:
        await BackfillStore(database=store).claim([step], fence, now=NOW)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE job_run SET state = 'CANCELLED' WHERE run_id = 'run1'",
        "UPDATE job_run SET state = 'CANCELLED', finished_at = '2026-06-01' WHERE run_id = 'run1'",
        "DELETE FROM job_run WHERE run_id = 'run1'",
    ],
)
async def test_a_backfill_whose_last_window_a_statement_ends_has_failed(
    statement: str, emptied_database: TestDatabase, store: Database, ends: EndsBySql
) -> None:
    fence, steps = await lead(store), [_step(0), _step(1)]
    await _requested(store, windows=2)
    await _claimed(store, fence, *steps)
    await emptied_database.execute(statement)
    assert await ends.complete_backfills(fence, now=NOW) == [], "one of its windows is in progress"
    await RunStore(database=store).finish([make_outcome(steps[0].runs[0])], fence)
    assert await _backfill(emptied_database) == ("ACTIVE", 1, 0, True)

    assert await ends.complete_backfills(fence, now=NOW) == ["b1"]
    assert await ends.complete_backfills(fence, now=NOW) == []
    assert await _backfill(emptied_database) == ("FAILED", 1, 1, False)


async def test_a_backfill_with_windows_to_claim_goes_on(
    emptied_database: TestDatabase, store: Database, ends: EndsBySql
) -> None:
    fence = await lead(store)
    await _requested(store, windows=3)
    await _claimed(store, fence, _step(0))
    await emptied_database.execute("DELETE FROM job_run")
    assert await ends.complete_backfills(fence, now=NOW) == []
    assert await _backfill(emptied_database) == ("ACTIVE", 0, 0, True)


async def test_a_backfill_whose_row_somebody_holds_waits_and_holds_up_nobody(
    emptied_database: TestDatabase, store: Database, ends: EndsBySql
) -> None:
    if emptied_database.kind == "sqlite":
        pytest.skip("SQLite has no locks of rows: an open transaction stops every writer")
    fence = await lead(store)
    await _requested(store, windows=1)
    await _claimed(store, fence, _step(0))
    await emptied_database.execute("DELETE FROM job_run")
    async with store.transaction() as held:
        await held.execute(select(backfill.c.state).with_for_update())
        assert await ends.complete_backfills(fence, now=NOW) == []
    assert await ends.complete_backfills(fence, now=NOW) == ["b1"]
    assert await _backfill(emptied_database) == ("FAILED", 0, 1, False)


async def test_who_no_longer_leads_completes_nothing(
    emptied_database: TestDatabase, store: Database, ends: EndsBySql
) -> None:
    fence = await lead(store)
    deposed = Fence(name=fence.name, epoch=fence.epoch - 1)
    await _requested(store, windows=1)
    await _claimed(store, fence, _step(0))
    await emptied_database.execute("UPDATE job_run SET state = 'CANCELLED'")
    for complete in (ends.complete_runs, ends.complete_backfills):
        with pytest.raises(FencedError):
            await complete(deposed, now=minute(1))
    assert await _runs(emptied_database) == {"run0": ("CANCELLED", True, None)}
    assert await _backfill(emptied_database) == ("ACTIVE", 0, 0, True)


_RUNS = 20_000
_OPEN = 40
_HISTORY = f"""
INSERT INTO job_run (run_id, job_id, scheduled_time, state, finished_at)
WITH digit AS ({" UNION ALL ".join(f"SELECT {number} AS d" for number in range(10))})
SELECT concat('run-', lpad(number, 8, '0')), concat('job-', number % 50),
  '2026-01-08' + INTERVAL number MINUTE,
  CASE WHEN number < {_OPEN} THEN 'QUEUED' WHEN number % 20 = 7 THEN 'CANCELLED' ELSE 'SUCCESS' END,
  CASE WHEN number < {_OPEN} THEN NULL ELSE '2026-01-08' + INTERVAL number MINUTE END
FROM (
  SELECT a.d + 10 * b.d + 100 * c.d + 1000 * d.d + 10000 * e.d AS number
  FROM digit a CROSS JOIN digit b CROSS JOIN digit c CROSS JOIN digit d CROSS JOIN digit e
) AS numbers WHERE number < {_RUNS}
"""


@pytest.mark.parametrize("database", [kind for kind in database_kinds() if kind != "sqlite"], indirect=True)
async def test_cancelled_runs_without_an_end_are_looked_for_among_those_that_have_not_ended(
    database: TestDatabase,
) -> None:
    """And not among all that were ever cancelled, of which a history may have many."""
    await upgrade(database.dsn)
    for statement in (_HISTORY, "ANALYZE TABLE job_run"):
        await database.execute(statement)
    async with opened(database) as store:
        fence = await lead(store)
        with sent_to(database, of="job_run") as sent:
            assert await EndsBySql(database=store).complete_runs(fence, now=NOW) == []
        ((statement, parameters),) = sent
        async with store.statements() as connection:
            explained = await connection.exec_driver_sql(
                f"EXPLAIN FORMAT=TRADITIONAL {statement}", parameters
            )
            (plan,) = explained.mappings().all()
    assert plan["key"] == "ix_job_run_finished"
    assert int(plan["rows"]) < 10 * _OPEN
