from __future__ import annotations

from piko.decisions.refusals import Refusals
from tests.scheduler.making import NOON, seconds


def test_a_job_is_held_back_for_longer_each_time_and_never_for_ever() -> None:
    refusals, now, pauses = Refusals(), NOON, []
    for _ in range(12):
        refusal = refusals.note("job", "claims", "no", now)
        pauses.append((refusal.until - now).total_seconds())
        assert refusals.held("job", now) == refusal
        now = refusal.until
        assert refusals.held("job", now) is None, "it is tried again"
        assert refusals.suspects("claims") == {"job"}, "and alone"

    assert pauses == [5, 10, 20, 40, 80, 160, *[300] * 6]


def test_a_job_is_free_once_all_that_was_refused_is_taken() -> None:
    refusals = Refusals()
    refusals.note("job", "claims", "no", NOON)
    refusals.note("job", "outcomes", "no", NOON)

    assert refusals.accepted(["job", "other"], "outcomes") == []
    assert refusals.held("job", NOON) is not None
    assert refusals.accepted(["job"], "claims") == ["job"]
    assert refusals.held("job", NOON) is None
    assert not refusals.suspects("claims")


def test_the_message_says_what_is_refused_and_when_it_is_tried_again() -> None:
    refusal = Refusals().note("job", "claims", "(1264, 'Out of range')", NOON + seconds(0.25))

    assert refusal.message == (
        "the database refuses claims of this job: (1264, 'Out of range'); it is tried again at "
        "2026-03-02T12:00:05Z"
    )
