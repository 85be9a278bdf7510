"""The judge of due times, over tables of runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.e2e.due_times import DueTimes, judged

BEGIN = datetime(2026, 11, 29, 12, tzinfo=UTC)
EVERY = timedelta(seconds=1)

pytestmark = pytest.mark.unit


def run(second: int, *, delay: float = 0.1, state: str = "SUCCESS", attempt: int = 1) -> dict[str, Any]:
    due = BEGIN + EVERY * second
    return {
        "scheduled_time": due.isoformat().replace("+00:00", "Z"),
        "started_at": (due + timedelta(seconds=delay)).isoformat(),
        "state": state,
        "attempt": attempt,
    }


def verdict(*runs: dict[str, Any]) -> DueTimes:
    return judged(runs, begin=BEGIN, end=BEGIN + EVERY * 3, every=EVERY)


def test_every_due_time_once_is_no_trouble() -> None:
    found = verdict(run(0), run(1, delay=0.5), run(2), run(3), run(-1, state="FAILED"))
    assert found.troubles() == []
    assert (found.due, found.longest_delay_s, found.longest_gap_s) == (3, 0.5, 1.4)


def test_a_due_time_that_is_missing_or_failed_is_missed() -> None:
    assert verdict(run(0), run(2)).missed == (BEGIN + EVERY,)
    assert verdict(run(0), run(1, state="MISSED"), run(2)).missed == (BEGIN + EVERY,)
    assert "1 due times without a run that succeeded" in verdict(run(0), run(1)).troubles()[0]


def test_a_run_that_is_lost_is_no_trouble_if_its_process_was_killed() -> None:
    found = verdict(run(0), run(1, state="LOST"), run(2))
    assert (found.missed, found.lost) == ((), (BEGIN + EVERY,))
    assert found.troubles(killed=True) == []
    assert found.troubles() == [f"1 runs were lost, first {BEGIN + EVERY}"]


def test_a_second_attempt_is_counted_and_is_no_second_success() -> None:
    found = verdict(run(0), run(1, state="LOST"), run(1, attempt=2, delay=4), run(2))
    assert (found.tried_again, found.longest_delay_s) == (1, 4)
    assert found.troubles() == []
    assert verdict(run(0), run(1), run(1, attempt=2), run(2)).succeeded_twice == (BEGIN + EVERY,)
