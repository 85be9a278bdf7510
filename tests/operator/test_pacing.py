"""When statuses are written: at once what matters, the progress of runs within a budget."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piko_operator.pacing import GAP_S, Pacing, is_urgent


def _written(pacing: Pacing, *, now: float) -> list[str]:
    found = []
    while (uid := pacing.next(now)[0]) is not None:
        found.append(uid)
    return found


def test_what_is_urgent_comes_first_and_again_at_once() -> None:
    pacing = Pacing(writes_per_s=100)
    pacing.want("routine", urgent=False, now=0.0)
    pacing.want("urgent", urgent=True, now=0.0)
    assert _written(pacing, now=0.0) == ["urgent", "routine"]
    pacing.want("urgent", urgent=True, now=0.1)
    assert _written(pacing, now=0.1) == ["urgent"]


def test_the_progress_of_an_object_is_written_once_in_ten_seconds() -> None:
    pacing = Pacing(writes_per_s=100)
    pacing.want("a", urgent=False, now=0.0)
    assert _written(pacing, now=0.0) == ["a"]
    pacing.want("a", urgent=False, now=1.0)
    assert pacing.next(1.0) == (None, GAP_S - 1.0)
    assert _written(pacing, now=GAP_S) == ["a"]
    assert len(pacing) == 0


def test_a_routine_wish_becomes_urgent_and_is_not_written_twice() -> None:
    pacing = Pacing(writes_per_s=100)
    pacing.want("a", urgent=False, now=0.0)
    _written(pacing, now=0.0)
    pacing.want("a", urgent=False, now=1.0)
    pacing.want("a", urgent=True, now=1.0)
    assert _written(pacing, now=1.0) == ["a"]
    assert _written(pacing, now=100.0) == []


def test_what_is_dropped_is_not_written() -> None:
    pacing = Pacing(writes_per_s=100)
    pacing.want("a", urgent=True, now=0.0)
    pacing.want("b", urgent=False, now=0.0)
    pacing.drop("a")
    pacing.forget("b")
    assert pacing.next(0.0) == (None, None)


@given(rate=st.floats(1, 200), wishes=st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=200))
def test_a_second_never_sees_more_writes_than_the_budget_and_its_burst(
    rate: float, wishes: list[tuple[int, bool]]
) -> None:
    pacing, written = Pacing(writes_per_s=rate), 0
    for step, (number, urgent) in enumerate(wishes):
        now = step / len(wishes)
        pacing.want(f"{number}-{step}", urgent=urgent, now=now)
        written += len(_written(pacing, now=now))
    assert written <= rate + max(1.0, rate) + 1


def test_routine_takes_a_fifth_at_most() -> None:
    pacing = Pacing(writes_per_s=100)
    for number in range(1_000):
        pacing.want(str(number), urgent=False, now=0.0)
    burst = len(_written(pacing, now=0.0))
    later = sum(len(_written(pacing, now=second)) for second in range(1, 11))
    assert burst == 20
    assert later == 200


_SYNCED = {"type": "Synced", "status": "True", "reason": "Synced", "message": "m"}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {"observedGeneration": 1}, True),
        ({"conditions": [_SYNCED]}, {"conditions": [{**_SYNCED, "status": "False"}]}, True),
        ({"conditions": [_SYNCED]}, {"conditions": [{**_SYNCED, "message": "n"}]}, False),
        ({"lastRun": {"state": "SUCCESS"}}, {"lastRun": {"state": "FAILED"}}, True),
        ({"lastRun": {"state": "FAILED"}}, {"lastRun": {"state": "SUCCESS"}}, True),
        (
            {"lastRun": {"state": "SUCCESS", "runId": "1"}},
            {"lastRun": {"state": "SUCCESS", "runId": "2"}},
            False,
        ),
        (
            {"lastRun": {"state": "FAILED", "runId": "1"}},
            {"lastRun": {"state": "FAILED", "runId": "2"}},
            True,
        ),
        ({"nextRunTime": "a"}, {"nextRunTime": "b"}, False),
        ({"effectiveRevision": 1}, {"effectiveRevision": 2}, True),
    ],
)
def test_a_change_of_state_and_a_failure_are_urgent(
    before: dict[str, Any], after: dict[str, Any], expected: bool
) -> None:
    assert is_urgent(before, after) is expected
