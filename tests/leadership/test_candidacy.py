"""Laws of a candidate, whatever is answered when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from piko.leadership.candidacy import Candidacy, Standing
from piko.leadership.lease import Terms
from piko.model.fences import Fence

TERMS = st.builds(
    Terms,
    valid_s=st.floats(0.5, 60),
    renew_every_s=st.floats(0.05, 5),
    look_every_s=st.floats(0.05, 1),
)
ANSWERS = st.lists(
    st.tuples(
        st.sampled_from(["won", "renewed", "unanswered", "lost"]),
        st.floats(0, 30, width=16),
        st.floats(0, 30, width=16),
    ),
    max_size=30,
)
ROUNDING = 1e-9


@given(TERMS, ANSWERS)
def test_a_candidate_acts_only_within_the_terms_of_its_last_renewal(
    terms: Terms, answers: list[tuple[str, float, float]]
) -> None:
    candidate, now, epoch = Candidacy(terms), 100.0, 0
    asked_last: float | None = None
    for answer, before, took in answers:
        now += before
        asked_at, now = now, now + took
        if answer == "won" and candidate.fence is None:
            epoch += 1
            candidate.won(Fence(name="default", epoch=epoch), asked_at=asked_at)
            asked_last = asked_at
        elif answer == "renewed" and candidate.fence is not None:
            candidate.renewed(asked_at=asked_at)
            asked_last = asked_at
        elif answer == "unanswered" and candidate.fence is not None:
            candidate.unanswered(now)
        elif answer == "lost":
            candidate.lost()
            asked_last = None
        acting = candidate.acting(now)
        assert (acting is not None) == (asked_last is not None and now < asked_last + terms.valid_s)
        assert acting in (None, candidate.fence)
        assert (candidate.fence is None) == (candidate.standing is Standing.FOLLOWER)
        if asked_last is not None:
            assert candidate.acting(asked_last + terms.valid_s) is None


@given(TERMS, ANSWERS)
def test_the_next_question_comes_soon_and_notices_the_deadline(
    terms: Terms, answers: list[tuple[str, float, float]]
) -> None:
    candidate = Candidacy(terms)
    candidate.won(Fence(name="default", epoch=1), asked_at=100.0)
    now = renewed_at = 100.0
    for answer, before, _ in answers:
        now += before
        if answer == "renewed":
            renewed_at = now
            candidate.renewed(asked_at=now)
        else:
            candidate.unanswered(now)
        left = renewed_at + terms.valid_s - now
        assert 0 < candidate.pause(now) <= max(terms.renew_every_s, 1)
        assert 0 < candidate.patience(now) <= max(terms.valid_s / 2, 1) + ROUNDING
        if left > 0.05:
            assert candidate.patience(now) <= left + ROUNDING, "the deadline is noticed"
            assert candidate.patience(now) <= max(left / 2, 1) + ROUNDING, "time for one more is left"
        if candidate.standing is Standing.SUSPENDED:
            assert candidate.fence == Fence(name="default", epoch=1), "it resumes under the same epoch"


def test_a_renewal_that_is_late_is_tried_again_more_often() -> None:
    candidate = Candidacy(Terms(valid_s=10, renew_every_s=2, look_every_s=0.3))
    assert candidate.pause(0) == 0.3
    candidate.won(Fence(name="default", epoch=1), asked_at=0)
    assert candidate.pause(0.1) == 2
    assert candidate.pause(2.5) == 0.4
    assert candidate.pause(9.95) <= 0.05 + 1e-6


def test_a_doubt_lasts_until_a_renewal_that_was_asked_for_later() -> None:
    candidate = Candidacy(Terms(valid_s=10, renew_every_s=2, look_every_s=0.3))
    candidate.doubted(0)
    assert not candidate.in_doubt, "a follower has nothing to lose"
    candidate.won(Fence(name="default", epoch=1), asked_at=1)
    assert not candidate.in_doubt
    candidate.doubted(1.2)
    candidate.renewed(asked_at=1.1)
    assert candidate.in_doubt, "this renewal may have been answered before another replica took over"
    assert candidate.pause(1.3) == 0.4, "it does not wait for the next renewal to know"
    candidate.renewed(asked_at=1.3)
    assert not candidate.in_doubt
    candidate.doubted(2)
    candidate.lost()
    assert not candidate.in_doubt


@given(TERMS, st.lists(st.tuples(st.booleans(), st.floats(0, 30, width=16)), max_size=30))
def test_who_could_not_read_the_lease_leaves_an_expired_one_alone_for_a_renewal(
    terms: Terms, looks: list[tuple[bool, float]]
) -> None:
    candidate, now = Candidacy(terms), 100.0
    assert not candidate.patient(now), "one that begins has missed nothing that it knows of"
    blind, read_again = False, float("-inf")
    for answered, passed in looks:
        now += passed
        if answered:
            read_again = now if blind else read_again
            assert candidate.heard(now) == blind
            blind = False
        else:
            assert candidate.unheard(asked_at=now) == (not blind)
            blind = True
        within_a_renewal = now < read_again + max(terms.renew_every_s, 1)
        assert candidate.patient(now) == (blind or within_a_renewal)
