"""What a process says of its troubles survives its column, is bounded, and never hides the rest."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from piko.model.troubles import ReportedTrouble, read_troubles, troubles_text

_SINCE = datetime(2026, 1, 8, 3, tzinfo=UTC)


def trouble(subject: str = "sink warehouse", text: str = "it takes nothing") -> ReportedTrouble:
    return ReportedTrouble(kind="sink_stuck", subject=subject, text=text, since=_SINCE)


def test_troubles_are_read_as_they_were_written() -> None:
    said = (trouble(), trouble("sink two", "«ü» ☃"))
    assert read_troubles(troubles_text(said)) == said
    assert troubles_text([]) is None
    assert read_troubles(None) == ()


def test_many_and_long_troubles_are_cut_and_say_so() -> None:
    text = troubles_text(trouble(f"sink {number}", "x" * 100_000) for number in range(1000))
    assert text is not None
    assert len(text) < 20_000
    found = read_troubles(text)
    assert len(found) == 20
    assert found[-1].text.startswith("and 980 more: ")


@pytest.mark.parametrize("text", ["", "{", "7", "null", '[{"kind": 1}]', "[[]]"])
def test_a_column_that_cannot_be_read_is_a_trouble_itself(text: str) -> None:
    (found,) = read_troubles(text)
    assert found.text.startswith("what it says of itself cannot be read")
