"""What is said before a schedule is resumed: which windows its job makes up. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from piko_operator.checks import caught_up
from piko_operator.resources import PikoSchedule

_NOW = datetime(2026, 3, 2, 12, 30, tzinfo=UTC)
_MORNING = datetime(2026, 3, 2, 6, tzinfo=UTC)
_SINCE = "resuming: 6 windows since the watermark 2026-03-02T06:00:00Z"


def _hourly(**backfill: Any) -> PikoSchedule:
    return PikoSchedule.model_validate(
        {
            "apiVersion": "piko.dev/v1",
            "kind": "PikoSchedule",
            "metadata": {"name": "s", "namespace": "n"},
            "spec": {"jobId": "a", "schedule": {"cron": "@hourly"}, "backfill": backfill},
        }
    )


@pytest.mark.parametrize(
    ("backfill", "said"),
    [
        ({}, f"{_SINCE} run with the next due time"),
        ({"policy": "CatchUp"}, f"{_SINCE} run with the next due time"),
        ({"policy": "Skip"}, f"{_SINCE}: the latest runs with the next due time, by backfill.policy Skip"),
        ({"maxWindows": 10}, f"{_SINCE} run with the next due time"),
        (
            {"maxWindows": 2},
            f"{_SINCE} run with the next due time; 4 of them are given up by its bounds",
        ),
        (
            {"maxLookback": "2h"},
            f"{_SINCE} run with the next due time; 4 of them are given up by its bounds",
        ),
        (
            {"maxLookback": "1m"},
            f"{_SINCE} run with the next due time; 5 of them are given up by its bounds",
        ),
        ({"maxLookback": "1000d"}, f"{_SINCE} run with the next due time"),
    ],
)
def test_windows_since_the_watermark_run_within_the_bounds(backfill: dict[str, Any], said: str) -> None:
    found = caught_up(_hourly(**backfill), stateful=True, watermark=_MORNING, zone="UTC", now=_NOW)
    assert found == said


@pytest.mark.parametrize(
    ("stateful", "watermark"),
    [(False, _MORNING), (True, None), (True, datetime(2026, 3, 2, 12, tzinfo=UTC))],
)
def test_nothing_is_said_where_nothing_is_made_up(stateful: bool, watermark: datetime | None) -> None:
    assert caught_up(_hourly(), stateful=stateful, watermark=watermark, zone="UTC", now=_NOW) is None
