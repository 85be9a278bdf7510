"""Whatever is reported fits, and telling it never fails."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piko.text import LIMIT, counted, error_text, excerpt, instant_text, listed


@given(st.text(st.characters(exclude_categories=()), max_size=400), st.integers(60, 400))
def test_an_excerpt_fits_and_can_be_stored(text: str, limit: int) -> None:
    reported = excerpt(text, limit=limit)
    assert len(reported.encode()) <= limit
    assert "\0" not in reported


@given(st.text(max_size=60).filter(lambda text: "\0" not in text))
def test_a_short_text_stays_as_it_is(text: str) -> None:
    assert excerpt(text) == text


def test_of_a_long_text_beginning_and_end_are_kept() -> None:
    reported = excerpt("begins " + "x" * 1_000_000 + " ends")
    assert reported.startswith("begins xx")
    assert reported.endswith("xx ends")
    assert f"… {1_000_012 - LIMIT} bytes …" in reported
    assert "\n" not in reported
    assert "\n… " in excerpt("x\n" * 10_000)


def test_a_list_says_how_many_more_there_are() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed((str(number) for number in range(20_000)), separator="; ", most=2) == "0; 1; and 19998 more"
    assert listed([]) == ""


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (KeyError("customer_id"), "KeyError: 'customer_id'"),
        (ValueError(), "ValueError"),
        (SystemExit(3), "SystemExit: 3"),
        (Unspeakable(), "Unspeakable: (no text: __str__ raised KeyboardInterrupt)"),
    ],
)
def test_an_error_is_reported_with_its_type(error: BaseException, text: str) -> None:
    assert error_text(error) == text


def test_an_error_that_says_too_much_is_bounded() -> None:
    assert len(error_text(ValueError("x" * 1_600_000))) <= LIMIT


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 1, 8, 3, tzinfo=UTC), "2026-01-08T03:00:00Z"),
        (datetime(2026, 1, 8, 3, 0, 0, 250, UTC), "2026-01-08T03:00:00.000250Z"),
        (datetime(2026, 1, 8, 11, tzinfo=timezone(timedelta(hours=8))), "2026-01-08T03:00:00Z"),
    ],
)
def test_an_instant_is_written_in_utc_with_a_fraction_only_if_it_has_one(moment: datetime, text: str) -> None:
    assert instant_text(moment) == text
    assert datetime.fromisoformat(text) == moment


def test_an_instant_may_be_written_in_whole_seconds() -> None:
    moment = datetime(2026, 1, 8, 3, 0, 0, 999_999, UTC)
    assert instant_text(moment, whole_seconds=True) == "2026-01-08T03:00:00Z"


def test_what_is_counted_is_in_the_singular_where_there_is_one() -> None:
    assert [counted(number, "window") for number in (0, 1, 2_000)] == [
        "0 windows",
        "1 window",
        "2,000 windows",
    ]
    assert counted(2, "query", "queries") == "2 queries"
