"""A state that a statement sets has one line in `change_log`; one that an act sets has the act's alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import select

from piko.core.types import BackfillState, RunState
from piko.errors import FencedError
from piko.model.backfills import OPEN_STATES
from piko.model.changes import Actor
from piko.model.fences import Fence
from piko.store.audited_backfills import MOST, AuditedBackfills
from piko.store.backfills import BackfillStore
from piko.store.ends_by_sql import EndsBySql
from piko.store.engine import Database
from piko.store.run_acts import RunActs
from piko.store.runs import RunStore
from piko.store.schema.tables.backfills import backfill
from tests.harness.databases import TestDatabase
from tests.store.making import NOW, lead, make_outcome, minute
from tests.store.test_backfills import _requested, _step

_ANN = Actor(who="ann", via="cli")
_Line = tuple[str, str, Any, Any]


@pytest.fixture
def audited(store: Database) -> AuditedBackfills:
    return AuditedBackfills(database=store)


async def _lines(database: TestDatabase) -> list[_Line]:
    """Who changed states of b1, by which way, and from which to which, in order."""
    rows = await database.execute(
        "SELECT who, via, job_id, `before`, `after` FROM change_log WHERE what = 'change_backfill' "
        "ORDER BY change_id"
    )
    facts = [(who, via, job_id, json.loads(old), json.loads(new)) for who, via, job_id, old, new in rows]
    assert {job_id for _, _, job_id, _, _ in facts} <= {"job"}
    assert {old["backfill_id"] for *_, old, _ in facts} | {new["backfill_id"] for *_, new in facts} <= {"b1"}
    return [(who, via, old["state"], new["state"]) for who, via, _, old, new in facts]


async def _set(database: TestDatabase, state: str) -> None:
    await database.execute(f"UPDATE backfill SET state = '{state}'")


async def _now(database: TestDatabase) -> tuple[Any, ...]:
    (row,) = await database.execute("SELECT state, finished_at IS NULL, message FROM backfill")
    return row[0], bool(row[1]), row[2]


async def test_each_state_that_sql_sets_has_one_line_and_what_an_act_would_have_written(
    emptied_database: TestDatabase, store: Database, audited: AuditedBackfills
) -> None:
    fence = await lead(store)
    await _requested(store)
    assert await audited.settle_edits(fence, now=NOW) == []
    await emptied_database.execute("UPDATE backfill SET message = 'all slots are taken'")
    for state in ("PAUSED", "ACTIVE", "CANCELLED", "ACTIVE"):
        await _set(emptied_database, state)
        assert await audited.settle_edits(fence, now=NOW) == ["b1"]
        assert await audited.settle_edits(fence, now=NOW) == []
        assert await _now(emptied_database) == (state, state in OPEN_STATES, None)
    assert await _lines(emptied_database) == [
        ("unknown", "sql", "ACTIVE", "PAUSED"),
        ("unknown", "sql", "PAUSED", "ACTIVE"),
        ("unknown", "sql", "ACTIVE", "CANCELLED"),
        ("unknown", "sql", "CANCELLED", "ACTIVE"),
    ]


@pytest.mark.parametrize("known", BackfillState)
@pytest.mark.parametrize("state", BackfillState)
async def test_every_pair_of_states_is_found(
    known: str, state: str, emptied_database: TestDatabase, store: Database, audited: AuditedBackfills
) -> None:
    fence = await lead(store)
    await _requested(store)
    await emptied_database.execute(f"UPDATE backfill SET state = '{state}', audited_state = '{known}'")
    found = await audited.settle_edits(fence, now=NOW)
    assert found == ([] if known == state else ["b1"])


async def test_an_act_has_its_own_line_alone_and_what_sql_set_before_has_one_in_front_of_it(
    emptied_database: TestDatabase, store: Database, audited: AuditedBackfills
) -> None:
    fence, backfills = await lead(store), BackfillStore(database=store)
    stale = await _requested(store)
    assert await backfills.change_state(
        stale, to=BackfillState.PAUSED, of=[BackfillState.ACTIVE], now=NOW, actor=_ANN
    )
    assert await audited.settle_edits(fence, now=NOW) == []
    await _set(emptied_database, "ACTIVE")
    assert await backfills.change_state(
        stale, to=BackfillState.CANCELLED, of=OPEN_STATES, now=NOW, actor=_ANN
    )
    assert not await backfills.change_state(
        stale, to=BackfillState.PAUSED, of=[BackfillState.ACTIVE], now=NOW, actor=_ANN
    )
    assert await audited.settle_edits(fence, now=NOW) == []
    assert await _lines(emptied_database) == [
        ("ann", "cli", "ACTIVE", "PAUSED"),
        ("unknown", "sql", "PAUSED", "ACTIVE"),
        ("ann", "cli", "ACTIVE", "CANCELLED"),
    ]


async def test_the_end_of_the_last_window_has_no_line_and_what_sql_set_before_has_one(
    emptied_database: TestDatabase, store: Database, audited: AuditedBackfills
) -> None:
    fence, step = await lead(store), _step(0)
    await _requested(store, windows=1)
    await BackfillStore(database=store).claim([step], fence, now=NOW)
    await _set(emptied_database, "PAUSED")
    for _ in range(2):
        await RunStore(database=store).finish([make_outcome(step.runs[0])], fence)
    assert await _now(emptied_database) == ("SUCCEEDED", False, None)
    assert await audited.settle_edits(fence, now=NOW) == []
    assert await _lines(emptied_database) == [("unknown", "sql", "ACTIVE", "PAUSED")]


@pytest.mark.parametrize("by", ["an act", "a statement"])
async def test_the_cancellation_of_the_last_window_has_no_line_of_the_backfill(
    by: str, emptied_database: TestDatabase, store: Database, audited: AuditedBackfills
) -> None:
    fence, step = await lead(store), _step(0)
    await _requested(store, windows=1)
    await BackfillStore(database=store).claim([step], fence, now=NOW)
    await _set(emptied_database, "PAUSED")
    if by == "an act":
        cancelled = await RunActs(database=store).cancel(step.runs[0], error="no", actor=_ANN, now=NOW)
        assert cancelled is RunState.RUNNING
    else:
        await emptied_database.execute("UPDATE job_run SET state = 'CANCELLED'")
        assert await EndsBySql(database=store).complete_backfills(fence, now=NOW) == ["b1"]
    assert await _now(emptied_database) == ("FAILED", False, None)
    assert await audited.settle_edits(fence, now=NOW) == []
    assert await _lines(emptied_database) == [("unknown", "sql", "ACTIVE", "PAUSED")]


async def test_the_next_leader_logs_what_was_set_while_nobody_led(
    emptied_database: TestDatabase, store: Database, audited: AuditedBackfills
) -> None:
    deposed = await lead(store)
    await _requested(store)
    await _set(emptied_database, "PAUSED")
    fence = Fence(name=deposed.name, epoch=deposed.epoch + 1)
    await emptied_database.execute(f"UPDATE leader_lease SET epoch = {fence.epoch}")
    with pytest.raises(FencedError):
        await audited.settle_edits(deposed, now=NOW)
    assert await _lines(emptied_database) == []
    assert await audited.settle_edits(fence, now=minute(1)) == ["b1"]
    assert await audited.settle_edits(fence, now=minute(2)) == []
    assert await _lines(emptied_database) == [("unknown", "sql", "ACTIVE", "PAUSED")]


async def test_a_row_of_an_earlier_release_is_known_since_it_was_seen(
    emptied_database: TestDatabase, store: Database, audited: AuditedBackfills
) -> None:
    fence = await lead(store)
    await _requested(store)
    await emptied_database.execute("UPDATE backfill SET audited_state = NULL, finished_at = NULL")
    await _set(emptied_database, "FAILED")
    assert await audited.settle_edits(fence, now=NOW) == []
    assert await _now(emptied_database) == ("FAILED", True, None), "nobody has edited it"
    await _set(emptied_database, "ACTIVE")
    assert await audited.settle_edits(fence, now=NOW) == ["b1"]
    assert await _lines(emptied_database) == [("unknown", "sql", "FAILED", "ACTIVE")]


async def test_a_row_that_somebody_holds_waits_and_holds_up_nobody(
    emptied_database: TestDatabase, store: Database, audited: AuditedBackfills
) -> None:
    if emptied_database.kind == "sqlite":
        pytest.skip("SQLite has no locks of rows: an open transaction stops every writer")
    fence = await lead(store)
    await _requested(store)
    await _set(emptied_database, "PAUSED")
    async with store.transaction() as held:
        await held.execute(select(backfill.c.state).with_for_update())
        assert await audited.settle_edits(fence, now=NOW) == []
    assert await audited.settle_edits(fence, now=NOW) == ["b1"]


async def test_a_statement_about_many_is_settled_in_parts(
    emptied_database: TestDatabase, store: Database, audited: AuditedBackfills
) -> None:
    fence, many = await lead(store), MOST + 20
    names = "backfill_id, job_id, state, audited_state, range_start, range_end, next_start, windows_total, "
    rows = ", ".join(
        f"('c{number:03}', 'job', 'ACTIVE', 'ACTIVE', '2026-01-01 00:00:00.000000', "
        "'2026-01-02 00:00:00.000000', '2026-01-01 00:00:00.000000', 24, 'interval', '{\"hours\": 1}', 'UTC')"
        for number in range(many)
    )
    await emptied_database.execute(
        f"INSERT INTO backfill ({names}schedule_type, schedule_expr, timezone) VALUES {rows}"
    )
    await _set(emptied_database, "PAUSED")
    looks = [await audited.settle_edits(fence, now=NOW) for _ in range(3)]
    assert [len(found) for found in looks] == [MOST, many - MOST, 0]
    ((lines, backfills),) = await emptied_database.execute(
        "SELECT count(*), count(DISTINCT `after`) FROM change_log WHERE what = 'change_backfill'"
    )
    assert (lines, backfills) == (many, many)
