from __future__ import annotations

import pytest

from piko.core.context import JobContext
from piko.core.types import DataInterval, TriggerType
from piko.errors import RunError
from tests.scheduler.making import NOON, seconds


def context(**values: object) -> JobContext:
    given: dict[str, object] = {
        "run_id": "r1",
        "job_id": "orders",
        "config": {"token": "hunter2"},
        "scheduled_time": NOON,
        "attempt": 2,
        "trigger_type": TriggerType.SCHEDULE,
        **values,
    }
    return JobContext(**given)  # type: ignore[arg-type]


def test_items_and_attributes_are_the_same() -> None:
    ctx = context()

    assert set(ctx) == {
        "run_id",
        "job_id",
        "config",
        "scheduled_time",
        "attempt",
        "trigger_type",
        "config_revision",
        "idempotency_key",
    }
    assert len(ctx) == 8
    assert all(ctx[key] is getattr(ctx, key) or ctx[key] == getattr(ctx, key) for key in ctx)
    assert {**ctx}["job_id"] == "orders"


def test_the_data_interval_is_there_for_stateful_jobs_only() -> None:
    interval = DataInterval(NOON, NOON + seconds(3600))

    assert context(data_interval=interval)["data_interval"] == interval
    assert interval.duration == seconds(3600)
    assert "data_interval" not in context()
    assert context().get("data_interval") is None


def test_a_key_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(KeyError, match="'interval'; this run's context has run_id, job_id, config"):
        context()["interval"]


def test_methods_are_not_items() -> None:
    with pytest.raises(KeyError):
        context()["keys"]


def test_every_attempt_at_one_due_time_has_one_idempotency_key() -> None:
    key = context().idempotency_key

    assert key == "orders@2026-03-02T12:00:00+00:00"
    assert context(attempt=3, run_id="r2")["idempotency_key"] == key
    assert context(scheduled_time=NOON + seconds(1)).idempotency_key != key


def test_what_is_recorded_last_counts() -> None:
    ctx = context()
    ctx.record(rows=1, source="shop")
    ctx.record(rows=2)

    assert ctx.recorded == {"rows": 2, "source": "shop"}
    assert "recorded" not in ctx


async def test_a_context_made_by_hand_says_that_nothing_takes_what_it_writes() -> None:
    with pytest.raises(RunError, match=r"ctx\.write\('prices', 'a', …\): .* `run_job\(…\)`"):
        await context().write("prices", "a", {})


def test_a_context_that_is_printed_shows_no_config() -> None:
    assert "hunter2" not in repr(context())
    assert "orders" in repr(context())


def test_a_context_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        context().attempt = 1  # type: ignore[misc]
