"""`piko plan`: what a change fires is what the leader's decisions make of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from piko.store.schema.migrate import upgrade
from tests.cli.piko import CANNOT, OK, Answer, piko_here
from tests.harness.databases import TestDatabase


@pytest.fixture
async def database(sqlite: TestDatabase) -> TestDatabase:
    await upgrade(sqlite.dsn)
    return sqlite


async def _row(database: TestDatabase, *, enabled: bool, behind: timedelta, stateful: bool = True) -> None:
    """An hourly job whose watermark lies so far back."""
    reached = (datetime.now(UTC) - behind).replace(minute=0, second=0, microsecond=0)
    await database.execute(
        "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr, enabled, last_data_time) "
        f"VALUES ('orders', 'cron', '\"0 * * * *\"', {int(enabled)}, '{reached:%Y-%m-%d %H:%M:%S.%f}')"
    )
    await database.execute(
        "INSERT INTO job_definition (job_id, app, handler, stateful, content_hash, instance_id) "
        f"VALUES ('orders', 'demo', 'app:orders', {int(stateful)}, 'hash', 'one')"
    )


def _plan(
    database: TestDatabase, folder: Path, *options: str, cron: str = "0 * * * *", **spec: Any
) -> Answer:
    resource = {
        "apiVersion": "piko.dev/v1",
        "kind": "PikoSchedule",
        "metadata": {"name": "orders", "namespace": "data"},
        "spec": {"jobId": "orders", "schedule": {"cron": cron}, **spec},
    }
    return piko_here("plan", "-f", "-", *options, cwd=folder, dsn=database.dsn, stdin=json.dumps(resource))


def _change(answer: Answer) -> dict[str, Any]:
    assert answer.code == OK, answer.err
    (change,) = json.loads(answer.out)
    return dict(change)


async def test_a_new_schedule_has_no_runs_before_and_none_made_up(
    database: TestDatabase, tmp_path: Path
) -> None:
    change = _change(_plan(database, tmp_path, "-o", "json"))
    said = (change["is_new"], change["due_before"], change["due_after"], change["made_up"])
    assert said == (True, 0, 168, 0)
    assert change["resource"] == "data/orders"


async def test_resuming_runs_the_windows_that_are_missing(database: TestDatabase, tmp_path: Path) -> None:
    await _row(database, enabled=False, behind=timedelta(hours=5))
    change = _change(_plan(database, tmp_path, "-o", "json", backfill={"policy": "CatchUp"}))
    assert (change["due_before"], change["due_after"], change["made_up"]) == (0, 168, 5)
    none = _change(_plan(database, tmp_path, "-o", "json", backfill={"policy": "Skip"}))
    assert none["made_up"] == 0, "the latest is the one that is due next"
    shown = _plan(database, tmp_path, backfill={"policy": "CatchUp"})
    assert "5 windows would be made up, from " in shown.out
    paused = _change(_plan(database, tmp_path, "-o", "json", suspend=True))
    assert (paused["due_after"], paused["made_up"], paused["next_due"]) == (0, 0, None)


async def test_what_runs_anyway_is_not_because_of_the_change(database: TestDatabase, tmp_path: Path) -> None:
    await _row(database, enabled=True, behind=timedelta(hours=5))
    change = _change(_plan(database, tmp_path, "-o", "json", cron="0 */2 * * *"))
    assert (change["due_before"], change["due_after"], change["made_up"]) == (168, 84, 0)


async def test_a_stateless_job_has_nothing_to_make_up(database: TestDatabase, tmp_path: Path) -> None:
    await _row(database, enabled=False, behind=timedelta(hours=5), stateful=False)
    assert _change(_plan(database, tmp_path, "-o", "json"))["made_up"] == 0


async def test_a_backlog_without_an_end_is_only_counted(database: TestDatabase, tmp_path: Path) -> None:
    await _row(database, enabled=False, behind=timedelta(days=365))
    change = _change(_plan(database, tmp_path, "-o", "json"))
    assert change["made_up"] is None
    assert any("not lived through" in remark for remark in change["remarks"])


async def test_a_schedule_that_cannot_be_used_is_named_with_its_line(
    database: TestDatabase, tmp_path: Path
) -> None:
    answer = _plan(database, tmp_path, cron="0 0 30 2 *")
    assert (answer.code, answer.out) == (CANNOT, "")
    assert "standard input, line 1 (PikoSchedule orders): spec.schedule: " in answer.err
