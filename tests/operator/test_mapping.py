"""Resource to row, by table."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piko.model.managed import ManagedConfig, ManagedSchedule
from piko.text import instant_text
from piko_operator.manifests import parse_manifest
from piko_operator.mapping import config_row, describe, schedule_row
from piko_operator.resources import PikoJobConfig, PikoSchedule
from piko_operator.shapes import duration_seconds, duration_text, parse_instant

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 hypothesis wants bounds without a zone


def _schedule(**spec: Any) -> PikoSchedule:
    spec = {"jobId": "a", "schedule": {"cron": "@daily"}} | spec
    document = {"apiVersion": "piko.dev/v1", "kind": "PikoSchedule", "metadata": {"name": "a"}, "spec": spec}
    resource = parse_manifest(document, "test")
    assert isinstance(resource, PikoSchedule)
    return resource


def _config(**spec: Any) -> PikoJobConfig:
    document = {
        "apiVersion": "piko.dev/v1",
        "kind": "PikoJobConfig",
        "metadata": {"name": "a"},
        "spec": {"jobId": "a"} | spec,
    }
    resource = parse_manifest(document, "test")
    assert isinstance(resource, PikoJobConfig)
    return resource


@pytest.mark.parametrize(
    ("schedule", "schedule_type", "expression", "line"),
    [
        ({"cron": " 0 2 * * * "}, "cron", '{"cron":"0 2 * * *"}', "0 2 * * *"),
        (
            {"cron": {"minute": 30, "dayOfWeek": "mon", "hour": 2}},
            "cron",
            '{"day_of_week":"mon","hour":2,"minute":30}',
            "cron: day_of_week mon, hour 2, minute 30",
        ),
        ({"interval": {"every": "1h30m"}}, "interval", '{"every":"1h30m"}', "interval: every 1h30m"),
        (
            {"interval": {"hours": 1, "seconds": 5, "startDate": "2026-01-01"}},
            "interval",
            '{"hours":1,"seconds":5,"start_date":"2026-01-01"}',
            "interval: hours 1, seconds 5, start_date 2026-01-01",
        ),
        (
            {"date": {"runDate": "2026-01-08 10:00:00"}},
            "date",
            '{"run_date":"2026-01-08 10:00:00"}',
            "date: run_date 2026-01-08 10:00:00",
        ),
    ],
)
def test_each_kind_of_schedule_has_its_expression(
    schedule: dict[str, Any], schedule_type: str, expression: str, line: str
) -> None:
    resource = _schedule(schedule=schedule)
    row = schedule_row(resource, owner="o")
    assert (row.schedule_type, row.schedule_expr) == (schedule_type, expression)
    assert describe(resource.spec.schedule) == line


def test_a_short_resource_becomes_the_tables_own_defaults() -> None:
    assert schedule_row(_schedule(), owner="o") == ManagedSchedule(
        job_id="a",
        schedule_type="cron",
        schedule_expr='{"cron":"@daily"}',
        timezone=None,
        enabled=True,
        start_at=None,
        end_at=None,
        jitter_s=0.0,
        misfire_grace_s=300.0,
        coalesce=True,
        overlap_policy="skip",
        max_instances=1,
        concurrency_group=None,
        concurrency_limit=None,
        priority=0,
        timeout_s=None,
        max_attempts=None,
        retry_backoff_s=10.0,
        retry_max_backoff_s=300.0,
        backfill_policy=None,
        max_lookback_s=None,
        backfill_max_windows=None,
        history_successful=100,
        history_failed=100,
        managed_by="o",
    )


@pytest.mark.parametrize(
    ("spec", "column", "value"),
    [
        ({"suspend": True}, "enabled", False),
        ({"timeZone": "Asia/Shanghai"}, "timezone", "Asia/Shanghai"),
        ({"startAt": "2026-01-01T08:00:00+08:00"}, "start_at", datetime(2026, 1, 1, tzinfo=UTC)),
        ({"jitter": "1.5s"}, "jitter_s", 1.5),
        ({"misfireGrace": "0s"}, "misfire_grace_s", 0.0),
        ({"coalesce": False}, "coalesce", False),
        ({"overlap": {"policy": "QueueAll"}}, "overlap_policy", "queue_all"),
        ({"overlap": {"maxInstances": 3}}, "max_instances", 3),
        ({"overlap": {"group": "g", "groupLimit": 2}}, "concurrency_limit", 2),
        ({"timeout": "250ms"}, "timeout_s", 0.25),
        ({"retry": {"maxAttempts": 3}}, "max_attempts", 3),
        ({"backfill": {"policy": "CatchUp"}}, "backfill_policy", "CATCH_UP"),
        ({"backfill": {"policy": "Skip"}}, "backfill_policy", "SKIP"),
        ({"backfill": {"maxLookback": "72h"}}, "max_lookback_s", 259200.0),
        ({"history": {"failed": 0}}, "history_failed", 0),
    ],
)
def test_each_field_has_its_column(spec: dict[str, Any], column: str, value: object) -> None:
    assert getattr(schedule_row(_schedule(**spec), owner=None), column) == value


def test_a_config_is_written_the_same_whatever_the_order_of_its_keys() -> None:
    one = config_row(_config(config={"b": {"d": 1, "c": "é"}, "a": None}), owner="o")
    two = config_row(_config(config={"a": None, "b": {"c": "é", "d": 1}}), owner="o")
    assert one == two == ManagedConfig(
        job_id="a",
        schema_version=1,
        config_json='{"a":null,"b":{"c":"é","d":1}}',
        secret_json=None,
        effective_from=None,
        updated_by="piko-operator",
        managed_by="o",
    )  # fmt: skip


def test_a_secret_does_not_show_in_a_rows_text() -> None:
    row = config_row(_config(), owner="o", secret={"password": "hunter2"})
    assert row.secret_json == '{"password":"hunter2"}'
    assert "hunter2" not in repr(row)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10s", 10),
        ("5m", 300),
        ("72h", 259200),
        ("1h30m", 5400),
        ("1m1.25s", 61.25),
        ("250ms", 0.25),
        ("0s", 0),
        ("1d", 86400),
        ("1d12h", 129600),
        ("2d0.5s", 172800.5),
    ],
)
def test_durations_are_those_of_go_after_whole_days(text: str, seconds: float) -> None:
    assert duration_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "s", "d", "1.5d", "12h1d", "1d1d", "-1s", "1 h", "1H", "+5m"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration such as 10s, 1h30m or 1d12h"):
        duration_seconds(text)


@given(st.integers(min_value=0, max_value=10**10))
def test_a_duration_survives_its_text_to_the_millisecond(milliseconds: int) -> None:
    seconds = duration_seconds(duration_text(milliseconds / 1000) if milliseconds else "0s")
    assert round(seconds * 1000) == milliseconds


@given(st.datetimes(min_value=_EPOCH, max_value=_EPOCH.replace(year=2200)))
def test_an_instant_survives_its_text(moment: datetime) -> None:
    assert parse_instant(instant_text(moment.replace(tzinfo=UTC))) == moment.replace(tzinfo=UTC)
