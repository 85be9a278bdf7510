"""The condition `Fresh`: by table, and as kubectl sees it on a real API server without any replica."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from piko.model.objectives import JobObjective, deadlines
from piko_operator.freshness import fresh
from piko_operator.news import news_of
from piko_operator.shapes import parse_instant
from tests.harness.waiting import PATIENCE_S, wait_until_async
from tests.operator.conftest import World

_JOB = JobObjective(
    job_id="orders",
    schedule_type="cron",
    schedule_expr='"0 6 * * *"',
    timezone=None,
    start_at=None,
    end_at=None,
    enabled=True,
    stateful=False,
    data_within_s=7200,
    start_within_s=None,
    finish_within_s=None,
    created_at=datetime(2026, 1, 5, tzinfo=UTC),
    last_data_time=None,
    last_success_at=None,
    cursor_at=None,
)
_LATE_AT = datetime(2026, 1, 5, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("values", "reason", "said"),
    [
        ({}, "DataLate", "a run had to succeed by 2026-01-05T08:00:00Z, and no run has succ"),
        ({"enabled": False}, "DataLate", "succeeded yet; the schedule is paused"),
        (
            {"stateful": True, "last_data_time": datetime(2026, 1, 4, 6, tzinfo=UTC)},
            "DataLate",
            "its watermark is at 2026-01-04T06:00:00Z",
        ),
        ({"data_within_s": None, "start_within_s": 7200.0}, "StartLate", "a run had to start by"),
        ({"data_within_s": None, "finish_within_s": 7200.0}, "FinishLate", "a run had to end by"),
        ({"start_within_s": 60.0}, "StartLate", "a run had to start by 2026-01-05T06:01:00Z"),
    ],
)
def test_a_job_that_is_late_says_what_had_to_happen(values: dict[str, Any], reason: str, said: str) -> None:
    job = replace(_JOB, **values)
    found = fresh(job, deadlines(job), now=_LATE_AT)
    assert (found.status, found.reason) == ("False", reason)
    assert said in found.message


def test_a_job_is_fresh_until_its_deadline() -> None:
    found = fresh(_JOB, deadlines(_JOB), now=_LATE_AT - timedelta(microseconds=1))
    assert (found.status, found.reason) == ("True", "Fresh")


def test_becoming_late_and_fresh_again_are_one_event_each() -> None:
    def status(state: str, reason: str) -> dict[str, Any]:
        return {"conditions": [{"type": "Fresh", "status": state, "reason": reason, "message": "m"}]}

    fine, late = status("True", "Fresh"), status("False", "DataLate")
    told = [news_of(*pair) for pair in ((fine, late), (late, late), (late, fine), (fine, fine))]
    assert [[(item.type, item.reason) for item in notices] for notices in told] == [
        [("Warning", "DataLate")], [], [("Normal", "Fresh")], [],
    ]  # fmt: skip


async def test_kubectl_wait_sees_a_job_become_late_and_fresh_again(world: World) -> None:
    world.start()
    schedule = {"interval": {"every": "20s"}}
    world.apply("PikoSchedule", "orders", jobId="orders", schedule=schedule, objective={"dataWithin": "5s"})
    world.apply("PikoSchedule", "silent", jobId="silent", schedule=schedule)
    deadline = await wait_until_async(
        lambda: world.read("psch", "orders").get("status", {}).get("deadline"), what="a deadline"
    )
    patience = f"--timeout={PATIENCE_S:.0f}s"
    world.kubectl("wait", "--for=condition=Fresh=false", patience, "psch/orders")
    late = world.condition("psch", "orders", "Fresh")
    assert late["reason"] == "DataLate"
    assert parse_instant(late["lastTransitionTime"]) >= parse_instant(deadline) - timedelta(seconds=1)
    print("deadline", deadline, "seen late at", late["lastTransitionTime"])
    shown = {line.split()[0]: line.split() for line in world.kubectl("get", "psch").splitlines()}
    assert "FRESH" in shown["NAME"]
    assert "False" in shown["orders"]
    assert world.condition("psch", "silent", "Fresh") == {}
    await wait_until_async(lambda: world.events("DataLate"), what="the event")

    await world.database.execute(
        "INSERT INTO job_state (job_id, status, last_success_at) "
        "VALUES ('orders', 'Scheduled', '2900-01-01 00:00:00')"
    )
    world.kubectl("wait", "--for=condition=Fresh", patience, "psch/orders")
    await wait_until_async(lambda: world.events("Fresh"), what="the event")

    world.apply("PikoSchedule", "orders", jobId="orders", schedule=schedule)
    await wait_until_async(
        lambda: (
            world.condition("psch", "orders", "Fresh") == {}
            and world.condition("psch", "orders", "Synced").get("status") == "True"
        ),
        what="no condition where nothing is promised",
    )
