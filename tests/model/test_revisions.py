"""What is kept of the revisions of a config: never less than what may be in force yet."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piko.model.revisions import KEPT, SETTLED, RevisionMark, revision_in_force, stale_revisions

NOW = datetime(2026, 1, 8, 10, tzinfo=UTC)
MONTH = timedelta(days=30)


def mark(
    number: int, *, ago: float, effective: float | None = None, error: str | None = None
) -> RevisionMark:
    """`ago` and `effective` are minutes before and after `NOW`."""
    return RevisionMark(
        revision=number,
        error=error,
        effective_from=None if effective is None else NOW + timedelta(minutes=effective),
        created_at=NOW - timedelta(minutes=ago),
        has_secret=True,
    )


@pytest.mark.parametrize(
    ("revisions", "blank"),
    [
        ([mark(1, ago=90)], []),
        ([mark(1, ago=90), mark(2, ago=80)], [1]),
        ([mark(1, ago=90), mark(2, ago=5)], []),  # a run may be on its way with the one before
        ([mark(1, ago=90), mark(2, ago=80, effective=30)], []),
        ([mark(1, ago=90), mark(2, ago=80, effective=-5)], []),
        ([mark(1, ago=90), mark(2, ago=80, effective=-15)], [1]),
        ([mark(1, ago=90), mark(2, ago=80), mark(3, ago=70, effective=30)], [1]),
        ([mark(1, ago=90), mark(2, ago=80, error="no")], []),  # it takes effect with code that accepts it
        ([mark(1, ago=90, error="no"), mark(2, ago=80)], [1]),
        ([mark(1, ago=90, error="no")], []),
    ],
)
def test_what_may_take_effect_keeps_its_secret(revisions: list[RevisionMark], blank: list[int]) -> None:
    assert stale_revisions(revisions, has_row=True, now=NOW, max_age=MONTH).blank == blank


def test_without_a_row_nothing_is_in_force_and_age_decides() -> None:
    stale = stale_revisions(
        [mark(1, ago=50_000), mark(2, ago=90), mark(3, ago=5)], has_row=False, now=NOW, max_age=MONTH
    )
    assert (stale.blank, stale.prune) == ([1, 2], [1])


def test_the_number_of_those_that_are_over_is_bounded() -> None:
    revisions = [mark(number, ago=10_000 - number) for number in range(1, KEPT + 8)]
    stale = stale_revisions(revisions, has_row=True, now=NOW, max_age=MONTH)
    assert stale.prune == [1, 2, 3, 4, 5, 6]
    assert len(stale.blank) == KEPT + 6


MARKS = st.lists(
    st.tuples(
        st.integers(0, 40), st.one_of(st.none(), st.integers(-60, 60)), st.sampled_from([None, None, "no"])
    ),
    max_size=8,
)


@settings(max_examples=500)
@given(drawn=MARKS, later=st.integers(0, 200), heals=st.booleans())
def test_what_is_in_force_is_the_same_with_and_without_what_was_blanked(
    drawn: list[tuple[int, int | None, str | None]], later: int, heals: bool
) -> None:
    ages = sorted((age for age, _, _ in drawn), reverse=True)
    revisions = [
        mark(number, ago=ages[number - 1], effective=effective, error=error)
        for number, (_, effective, error) in enumerate(drawn, start=1)
    ]
    stale = stale_revisions(revisions, has_row=True, now=NOW, max_age=MONTH)
    moment = NOW + timedelta(minutes=later)

    def accepted(item: RevisionMark) -> RevisionMark:
        return replace(item, error=None) if heals and item.secret_blanked_at is None else item

    kept = [
        replace(item, secret_blanked_at=NOW, has_secret=False) if item.revision in stale.blank else item
        for item in revisions
        if item.revision not in stale.prune
    ]
    before = revision_in_force([accepted(item) for item in revisions], moment)
    after = revision_in_force([accepted(item) for item in kept], moment)
    assert (before and before.revision) == (after and after.revision)
    assert revision_in_force(revisions, NOW - SETTLED) is None or set(stale.blank) < {
        item.revision for item in revisions
    }
