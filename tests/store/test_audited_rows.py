"""Edits by SQL and their lines in the change log: each has one, whoever else wrote the row meanwhile."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from piko.errors import FencedError
from piko.model.fences import Fence
from piko.model.managed import Change, Held, ManagedSchedule, Verb, WriteResult
from piko.model.watermarks import WatermarkMove
from piko.store.audited_rows import AuditedRows, audited_configs, audited_schedules
from piko.store.edits import Edits
from piko.store.engine import Database
from piko.store.managed import managed_schedules
from piko.store.progress import ProgressStore
from piko.store.runs import RunStore
from piko.store.states import StateStore
from tests.harness.databases import TestDatabase
from tests.store.making import (
    ACTOR,
    NOW,
    lead,
    make_batch,
    make_outcome,
    make_state,
    make_window_run,
    minute,
    schedule_windows,
    set_watermark,
)
from tests.web.rows import add_jobs

_MANY = 1000


@pytest.fixture
def rows(store: Database) -> AuditedRows:
    return audited_schedules(store)


async def _lines(database: TestDatabase, job_id: str = "a") -> list[tuple[str, str, str, Any, Any]]:
    found = await database.execute(
        "SELECT who, via, what, `before`, `after` FROM change_log "
        f"WHERE job_id = '{job_id}' ORDER BY change_id"
    )
    return [
        (who, via, what, *(None if text is None else json.loads(text) for text in facts))
        for who, via, what, *facts in found
    ]


async def _kinds(database: TestDatabase, job_id: str = "a") -> list[tuple[str, str]]:
    return [(line[1], line[2]) for line in await _lines(database, job_id)]


async def _settle(rows: AuditedRows, store: Database, *job_ids: str, fence: Fence | None = None) -> set[str]:
    return await rows.settle_edits(job_ids or ["a"], fence or await lead(store), most_a_minute=_MANY)


async def _edit(database: TestDatabase, values: str, job_id: str = "a") -> None:
    await database.execute(f"UPDATE scheduled_job SET {values} WHERE job_id = '{job_id}'")


async def _define(database: TestDatabase, schema: str) -> None:
    await database.execute(
        "INSERT INTO job_definition "
        "(job_id, app, handler, stateful, config_schema, content_hash, instance_id) "
        f"VALUES ('a', 'demo', 'app:a', 0, {schema}, 'hash', 'one')"
    )


async def test_an_insert_an_update_and_a_delete_by_sql_have_a_line_each_and_only_one(
    store: Database, emptied_database: TestDatabase, rows: AuditedRows
) -> None:
    await add_jobs(emptied_database, "a")
    for _ in range(2):
        await _settle(rows, store)
    await _edit(emptied_database, "priority = 7, jitter_s = 1.5")
    for _ in range(2):
        await _settle(rows, store)
    await emptied_database.execute("DELETE FROM scheduled_job")
    for _ in range(2):
        await _settle(rows, store)
    was, now = {"schedule_type": "cron", "schedule_expr": '"@hourly"'}, {"jitter_s": 1.5, "priority": 7}
    assert await _lines(emptied_database) == [
        ("unknown", "sql", "create_schedule", None, was),
        (
            "unknown",
            "sql",
            "edit_schedule",
            {"jitter_s": 0.0, "priority": 0},
            {"jitter_s": 1.5, "priority": 7},
        ),
        ("unknown", "sql", "delete_schedule", {**was, **now}, None),
    ]


async def test_what_the_runtime_writes_and_a_raised_version_are_no_edits(
    store: Database, emptied_database: TestDatabase, rows: AuditedRows
) -> None:
    await add_jobs(emptied_database, "a")
    await _settle(rows, store)
    await _edit(
        emptied_database,
        "version = version + 1, last_data_time = '2026-01-01 00:00:00', completed_at = '2026-01-01 00:00:00'",
    )
    await _settle(rows, store)
    assert await _kinds(emptied_database) == [("sql", "create_schedule")]


async def test_an_act_is_not_said_a_second_time_as_an_edit_by_sql(
    store: Database, emptied_database: TestDatabase, rows: AuditedRows
) -> None:
    await add_jobs(emptied_database, "a")
    await Edits(database=store).set_enabled("a", enabled=False, actor=ACTOR)
    await _settle(rows, store)
    assert await _kinds(emptied_database) == [("sql", "create_schedule"), ("cli", "pause")]


async def test_an_edit_between_two_looks_has_its_line_though_an_act_follows(
    store: Database, emptied_database: TestDatabase, rows: AuditedRows
) -> None:
    await add_jobs(emptied_database, "a")
    await _settle(rows, store)
    await _edit(emptied_database, "priority = 7")
    await Edits(database=store).set_enabled("a", enabled=False, actor=ACTOR)
    await _edit(emptied_database, "enabled = 1")
    await _settle(rows, store)
    assert await _kinds(emptied_database) == [
        ("sql", "create_schedule"),
        ("sql", "edit_schedule"),
        ("cli", "pause"),
        ("sql", "resume"),
    ]


async def test_replicas_that_look_at_the_same_time_write_one_line(
    store: Database, emptied_database: TestDatabase, rows: AuditedRows
) -> None:
    jobs = [f"job-{number}" for number in range(20)]
    await add_jobs(emptied_database, *jobs)
    fence = await lead(store)
    others = [audited_schedules(store) for _ in range(3)]
    for values in ("priority = 1", "priority = 2"):
        await emptied_database.execute(f"UPDATE scheduled_job SET {values}")
        await asyncio.gather(
            *(_settle(each, store, *jobs, fence=fence) for each in (rows, *others)),
            *(Edits(database=store).set_enabled(job_id, enabled=True, actor=ACTOR) for job_id in jobs),
        )
    for job_id in jobs:
        assert await _kinds(emptied_database, job_id) == [
            ("sql", "create_schedule"),
            ("sql", "edit_schedule"),
        ]


async def test_a_deposed_leader_writes_no_line_and_the_next_one_finds_the_edit(
    store: Database, emptied_database: TestDatabase, rows: AuditedRows
) -> None:
    await add_jobs(emptied_database, "a")
    deposed = await lead(store)
    await _settle(rows, store, fence=deposed)
    await _edit(emptied_database, "priority = 7")
    fence = await lead(store, "two")
    with pytest.raises(FencedError):
        await _settle(rows, store, fence=deposed)
    assert await audited_schedules(store).suspects() == ["a"]
    await _settle(rows, store, fence=fence)
    assert await _kinds(emptied_database) == [("sql", "create_schedule"), ("sql", "edit_schedule")]
    assert await rows.suspects() == []


async def test_suspects_are_rows_that_came_or_went_or_were_written(
    store: Database, emptied_database: TestDatabase, rows: AuditedRows
) -> None:
    await add_jobs(emptied_database, "a", "b", "c", "d")
    await _settle(rows, store, "a", "b", "c")
    await emptied_database.execute("DELETE FROM scheduled_job WHERE job_id = 'b'")
    await _edit(emptied_database, "priority = 1, version = version + 1", "c")
    assert await rows.suspects() == ["b", "c", "d"]


async def test_a_row_that_is_edited_again_and_again_gets_some_lines_and_then_one_for_the_rest(
    store: Database, emptied_database: TestDatabase, rows: AuditedRows
) -> None:
    await add_jobs(emptied_database, "a", "b")
    fence = await lead(store)
    put_off = []
    for number in range(8):
        await _edit(emptied_database, f"priority = {number}")
        put_off.append(await rows.settle_edits(["a", "b"], fence, most_a_minute=3))
    assert put_off == [set()] * 3 + [{"a"}] * 5
    for (change_id,) in await emptied_database.execute("SELECT change_id FROM change_log"):
        older = f"000{change_id[3:]}"
        await emptied_database.execute(
            f"UPDATE change_log SET change_id = '{older}' WHERE change_id = '{change_id}'"
        )
    assert await rows.settle_edits(["a"], fence, most_a_minute=3) == set()
    lines = await _lines(emptied_database)
    assert len(lines) == 4
    assert lines[-1] == ("unknown", "sql", "edit_schedule", {"priority": 2}, {"priority": 7})
    assert await _kinds(emptied_database, "b") == [("sql", "create_schedule")]


async def test_a_config_is_said_by_path_and_whose_account_it_is_without_its_secrets(
    store: Database, emptied_database: TestDatabase
) -> None:
    configs = audited_configs(store)
    schema = json.dumps({"properties": {"token": {"type": "string", "writeOnly": True}}})
    await _define(emptied_database, f"'{schema}'")
    await emptied_database.execute(
        "INSERT INTO job_config (job_id, config_json, secret_json) "
        """VALUES ('a', '{"limit": 1, "token": "t0p"}', '{"password": "s3cret"}')"""
    )
    await _settle(configs, store)
    await emptied_database.execute(
        """UPDATE job_config SET config_json = '{"limit": 2, "token": "t1p"}', """
        """secret_json = '{"password": "s4cret"}', updated_by = 'anna'"""
    )
    await _settle(configs, store)
    hidden = "••••••"
    masked = {"config_json.token": hidden, "secret_json": hidden}
    assert await _lines(emptied_database) == [
        ("unknown", "sql", "create_config", None, {"config_json.limit": 1, **masked}),
        (
            "anna",
            "sql",
            "edit_config",
            {"config_json.limit": 1, "updated_by": None, **masked},
            {"config_json.limit": 2, "updated_by": "anna", **masked},
        ),
    ]
    for table in ("change_log", "audited_row"):
        text = str([tuple(row) for row in await emptied_database.execute(f"SELECT * FROM {table}")])
        assert "s3cret" not in text
        assert "s4cret" not in text


async def test_a_line_is_bounded_however_large_the_edit(
    store: Database, emptied_database: TestDatabase
) -> None:
    await _define(emptied_database, "NULL")
    document = json.dumps({f"key-{number}": "x" * 3000 for number in range(300)})
    await emptied_database.execute(f"INSERT INTO job_config (job_id, config_json) VALUES ('a', '{document}')")
    await _settle(audited_configs(store), store)
    after = (await _lines(emptied_database))[0][4]
    assert len(json.dumps(after)) < 20_000
    assert after["…"] == f"{300 + 1 - len(after)} more"
    assert all(len(str(value)) <= 1000 for value in after.values())


# ---- watermarks -----------------------------------------------------------------------------------


async def _stateful(store: Database, database: TestDatabase, fence: Fence) -> ProgressStore:
    """A stateful job whose watermark stands at the first minute, as a leader knows it."""
    await schedule_windows(database, "a", watermark=minute(1))
    await _settle(audited_schedules(store), store, fence=fence)
    await StateStore(database=store).write([make_state("a")], fence)
    progress = ProgressStore(database=store)
    await progress.copy(["a"], fence)
    return progress


def _moved(via: str, before: int, after: int | None) -> tuple[str, str, str, Any, Any]:
    def fact(number: int | None) -> dict[str, object]:
        return {"last_data_time": None if number is None else f"{minute(number):%Y-%m-%dT%H:%M:%SZ}"}

    return ("unknown" if via == "sql" else "somebody", via, "set_watermark", fact(before), fact(after))


async def test_a_watermark_that_sql_sets_has_one_line_and_that_of_a_new_row_is_part_of_its_line(
    store: Database, emptied_database: TestDatabase
) -> None:
    fence = await lead(store)
    progress = await _stateful(store, emptied_database, fence)
    assert await _kinds(emptied_database) == [("sql", "create_schedule")]
    for number in (5, 1):
        await set_watermark(emptied_database, minute(number), "a")
        for _ in range(2):
            await progress.copy(["a"], fence)
            await _settle(audited_schedules(store), store, fence=fence)
    assert (await _lines(emptied_database))[1:] == [_moved("sql", 1, 5), _moved("sql", 5, 1)]


@pytest.mark.parametrize("number", [5, None])
async def test_a_watermark_that_an_act_sets_has_the_line_of_the_act_alone(
    store: Database, emptied_database: TestDatabase, number: int | None
) -> None:
    fence = await lead(store)
    progress = await _stateful(store, emptied_database, fence)
    moment = None if number is None else minute(number)
    await Edits(database=store).set_watermark("a", moment, actor=ACTOR)
    await progress.copy(["a"], fence)
    assert (await _lines(emptied_database))[1:] == [_moved("cli", 1, number)]
    await set_watermark(emptied_database, minute(9), "a")
    await progress.copy(["a"], fence)
    if moment is not None:
        await set_watermark(emptied_database, moment, "a")
        await progress.copy(["a"], fence)
        assert (await _lines(emptied_database))[2:] == [_moved("sql", 5, 9), _moved("sql", 9, 5)]


async def test_a_watermark_that_sql_sets_just_before_an_act_has_its_line_too(
    store: Database, emptied_database: TestDatabase
) -> None:
    fence = await lead(store)
    progress = await _stateful(store, emptied_database, fence)
    await set_watermark(emptied_database, minute(3), "a")
    await Edits(database=store).set_watermark("a", minute(5), actor=ACTOR)
    await progress.copy(["a"], fence)
    assert (await _lines(emptied_database))[1:] == [_moved("sql", 1, 3), _moved("cli", 3, 5)]


async def test_a_watermark_that_an_outcome_finds_set_by_sql_has_its_line(
    store: Database, emptied_database: TestDatabase
) -> None:
    fence = await lead(store)
    progress = await _stateful(store, emptied_database, fence)
    runs, run = RunStore(database=store), make_window_run(1, job_id="a")
    assert await runs.claim(make_batch(run), fence, now=NOW)
    await set_watermark(emptied_database, minute(9), "a")
    move = WatermarkMove(job_id="a", old=minute(1), new=minute(2))
    await runs.finish([make_outcome(run, watermark=move)], fence)
    await progress.copy(["a"], fence)
    assert (await _lines(emptied_database))[1:] == [_moved("sql", 1, 9)]


async def test_an_act_before_a_leader_has_seen_the_job_is_not_said_twice(
    store: Database, emptied_database: TestDatabase
) -> None:
    await schedule_windows(emptied_database, "a", watermark=minute(1))
    await Edits(database=store).set_watermark("a", minute(5), actor=ACTOR)
    fence = await lead(store)
    await StateStore(database=store).write([make_state("a")], fence)
    await ProgressStore(database=store).copy(["a"], fence)
    await _settle(audited_schedules(store), store, fence=fence)
    assert await _kinds(emptied_database) == [("sql", "create_schedule"), ("cli", "set_watermark")]


async def test_forgetting_progress_says_what_it_was(store: Database, emptied_database: TestDatabase) -> None:
    fence = await lead(store)
    progress = await _stateful(store, emptied_database, fence)
    assert not await progress.forget("a", actor=ACTOR)
    await emptied_database.execute("DELETE FROM scheduled_job")
    assert await progress.forget("a", actor=ACTOR)
    who, via, what, before, after = (await _lines(emptied_database))[-1]
    assert (who, via, what, after) == ("somebody", "cli", "forget", None)
    assert before["data_through"] == "2026-01-08T00:01:00Z"


# ---- resources ------------------------------------------------------------------------------------

_ROW = ManagedSchedule(
    job_id="a", schedule_type="cron", schedule_expr='{"cron":"@daily"}', managed_by="c/ns/n/1"
)


async def _held(store: Database) -> Held[ManagedSchedule]:
    return (await managed_schedules(store).read(["a"]))["a"]


async def test_what_a_resource_writes_names_it_and_is_no_edit_by_sql(
    store: Database, emptied_database: TestDatabase, rows: AuditedRows
) -> None:
    table = managed_schedules(store)
    await table.apply([Change(verb=Verb.CREATE, job_id="a", row=_ROW)])
    await table.apply([Change(verb=Verb.SUSPEND, job_id="a", seen=await _held(store))])
    await table.apply([Change(verb=Verb.FORGET, job_id="a", seen=await _held(store))])
    await _settle(rows, store)
    lines = await _lines(emptied_database)
    assert [line[:3] for line in lines] == [
        ("piko-operator", "resource", what) for what in ("create_schedule", "pause", "delete_schedule")
    ]
    assert lines[0][4]["managed_by"] == "c/ns/n/1"


async def test_drift_has_a_line_for_the_edit_and_one_for_the_correction_and_a_fight_is_bounded(
    store: Database, emptied_database: TestDatabase, rows: AuditedRows
) -> None:
    table = managed_schedules(store)
    await table.apply([Change(verb=Verb.CREATE, job_id="a", row=_ROW)])
    for number in range(1, 20):
        await _edit(emptied_database, f"priority = {number}")
        change = Change(verb=Verb.REPLACE, job_id="a", row=_ROW, seen=await _held(store), restores=True)
        assert await table.apply([change]) == {"a": WriteResult.DONE}
    await _settle(rows, store)
    lines = await _lines(emptied_database)
    assert [line[1:3] for line in lines[1:3]] == [("sql", "edit_schedule"), ("resource", "edit_schedule")]
    assert lines[1][3:] == ({"priority": 0}, {"priority": 1})
    assert lines[2][3:] == ({"priority": 1}, {"priority": 0})
    assert len(lines) == 1 + 2 * 5


async def test_old_edits_are_at_the_time_of_their_row(
    store: Database, emptied_database: TestDatabase, rows: AuditedRows
) -> None:
    await add_jobs(emptied_database, "a")
    await _settle(rows, store)
    at, written = (
        await emptied_database.execute(
            "SELECT at, updated_at FROM change_log JOIN scheduled_job USING (job_id) WHERE job_id = 'a'"
        )
    )[0]
    assert str(at)[:23] == str(written)[:23]
