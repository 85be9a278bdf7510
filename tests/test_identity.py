from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piko.identity import Ids, OrderedIds, content_hash, host_name


class Standing:
    """A clock that stands still."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return 0.0


NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def test_ids_differ_at_one_moment_and_sort_by_time() -> None:
    same = {ids.new() for ids in (Ids(Standing(NOON)), Ids(Standing(NOON))) for _ in range(500)}
    assert len(same) == 1000
    assert all(len(made) == 32 and int(made, 16) for made in same)
    assert Ids(Standing(NOON + timedelta(milliseconds=1))).new() > max(same)


def test_ordered_ids_of_one_moment_are_in_the_order_in_which_they_were_made() -> None:
    ids = OrderedIds(Standing(NOON))
    made = [ids.new() for _ in range(500)]
    assert made == sorted(set(made))
    assert all(len(each) == 32 for each in made)


parts = st.lists(st.one_of(st.none(), st.text(max_size=4)), max_size=4)


@given(parts, parts)
def test_contents_are_the_same_where_every_part_is(one: list[str | None], other: list[str | None]) -> None:
    assert (content_hash(*one) == content_hash(*other)) == (one == other)


def test_absence_is_not_emptiness_and_borders_count() -> None:
    assert len({content_hash(*parts) for parts in ((None,), ("",), (), ("ab", "c"), ("a", "bc"))}) == 5


def test_a_pod_is_called_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOSTNAME", "runtime-7")
    assert host_name() == "runtime-7"
    monkeypatch.delenv("HOSTNAME")
    assert host_name()
