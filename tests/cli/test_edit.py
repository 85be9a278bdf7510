"""`piko edit`: the cure for a row that an edit by SQL has made invalid."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from piko.model.changes import Actor
from piko.steering.edit import value_of
from piko.store.edits import Edits
from tests.cli.piko import CANNOT, OK, piko_here
from tests.harness.databases import TestDatabase
from tests.store.making import opened

_INVALID = (
    "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr, managed_by, version) "
    "VALUES ('orders', 'cron', '{\"hour\": 25}', NULL, 3)"
)
_ROW = "SELECT schedule_expr, timezone, max_instances, version FROM scheduled_job"


async def edit(database: TestDatabase, folder: Path, *arguments: str) -> Any:
    return await asyncio.to_thread(piko_here, "edit", *arguments, cwd=folder, dsn=database.dsn)


async def test_an_invalid_row_is_repaired_once_its_dry_run_was_seen(
    emptied_database: TestDatabase, tmp_path: Path
) -> None:
    database = emptied_database
    await database.execute(_INVALID)
    asked = ("orders", "--set", 'schedule_expr={"hour": 3}', "--set", "max_instances=2", "--reason", "typo")
    checked = await edit(database, tmp_path, *asked, "--dry-run")
    assert checked.code == OK, checked.err
    assert 'would change schedule_expr from {"hour": 25} to {"hour": 3}' in checked.out
    assert "03:00:00Z" in checked.out
    assert await database.execute(_ROW) == [('{"hour": 25}', None, 1, 3)]
    done = await edit(database, tmp_path, *asked, "-o", "json")
    assert json.loads(done.out)["changed"] is True
    assert await database.execute(_ROW) == [('{"hour": 3}', None, 2, 4)]
    ((via, what, job_id, before, after, reason),) = await database.execute(
        "SELECT via, what, job_id, change_log.before, change_log.after, reason "
        "FROM change_log WHERE via <> 'sql'"
    )
    assert (via, what, job_id, reason) == ("cli", "edit_schedule", "orders", "typo")
    assert json.loads(before) == {"schedule_expr": '{"hour": 25}', "max_instances": 1}
    assert json.loads(after) == {"schedule_expr": '{"hour": 3}', "max_instances": 2}
    assert "it is so already" in (await edit(database, tmp_path, "orders", "--set", "max_instances=2")).out
    assert len(await database.execute("SELECT 1 FROM change_log WHERE via <> 'sql'")) == 1


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ('schedule_expr={"hour": 26}', "is out of range"),
        ("jitter=5", "did you mean `jitter_s`"),
        ("enabled=0", "piko pause"),
        ("job_id=x", "is no field to edit"),
        ("schedule_expr", "expected FIELD=VALUE"),
    ],
)
async def test_what_would_leave_the_row_invalid_is_refused(
    emptied_database: TestDatabase, tmp_path: Path, field: str, said: str
) -> None:
    await emptied_database.execute(_INVALID)
    refused = await edit(emptied_database, tmp_path, "orders", "--set", field)
    assert refused.code == CANNOT
    assert said in refused.err
    assert await emptied_database.execute(_ROW) == [('{"hour": 25}', None, 1, 3)]


async def test_a_row_of_a_resource_is_edited_at_the_resource(
    emptied_database: TestDatabase, tmp_path: Path
) -> None:
    await emptied_database.execute(_INVALID.replace("NULL", "'prod/data/orders/uid'"))
    refused = await edit(emptied_database, tmp_path, "orders", "--set", 'schedule_expr={"hour": 3}')
    assert refused.code == CANNOT
    assert "kubectl edit pikoschedule orders -n data" in refused.err


async def test_a_row_that_was_edited_meanwhile_is_left_alone(emptied_database: TestDatabase) -> None:
    await emptied_database.execute(_INVALID)
    async with opened(emptied_database) as database:
        done = await Edits(database=database).set_fields(
            "orders",
            {"max_instances": 2},
            actor=Actor(who="ann", via="cli", reason=None),
            seen=(2, datetime(2026, 1, 1, tzinfo=UTC)),
        )
    assert done is None
    assert await emptied_database.execute(_ROW) == [('{"hour": 25}', None, 1, 3)]


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("max_instances", "3", 3),
        ("timeout_s", "0.5", 0.5),
        ("timeout_s", "null", None),
        ("coalesce", "False", False),
        ("start_at", "2026-01-08T10:00:00+08:00", datetime(2026, 1, 8, 2, tzinfo=UTC)),
        ("overlap_policy", "queue", "queue"),
    ],
)
def test_a_field_is_read_as_its_column_holds_it(field: str, text: str, value: object) -> None:
    assert value_of(field, text) == value


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("max_instances", "0", "expected 1 to"),
        ("max_instances", "many", "expected a whole number"),
        ("max_instances", "null", "cannot be empty"),
        ("timeout_s", "nan", "expected seconds"),
        ("timeout_s", "0", "expected more than 0"),
        ("coalesce", "perhaps", "expected true or false"),
        ("start_at", "2026-01-08T10:00:00", "with its offset"),
        ("overlap_policy", "skips", "expected skip, queue, queue_all, replace, allow"),
        ("timezone", "", "expected 1 to 64 characters"),
    ],
)
def test_a_value_that_a_field_cannot_hold_says_what_it_can(field: str, text: str, said: str) -> None:
    from piko.errors import InputError

    with pytest.raises(InputError, match=said):
        value_of(field, text)
