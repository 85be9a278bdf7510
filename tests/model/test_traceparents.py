"""Which traceparents are taken over, according to W3C Trace Context."""

from __future__ import annotations

import pytest

from piko.model.traceparents import traceparent_of

KNOWN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("sent", "taken"),
    [
        (KNOWN, KNOWN),
        (f" {KNOWN} ", KNOWN),
        (KNOWN.replace("00-", "cc-", 1) + "-later", KNOWN),
        (KNOWN.replace("00-", "cc-", 1), KNOWN),
        (None, None),
        ("", None),
        (f"{KNOWN}-more", None),
        (f"{KNOWN}0", None),
        (KNOWN.replace("00-", "ff-", 1), None),
        (KNOWN.upper(), None),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", None),
        (f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01", None),
        (KNOWN[:-1], None),
    ],
)
def test_a_traceparent_is_taken_over_as_it_is_or_not_at_all(sent: str | None, taken: str | None) -> None:
    assert traceparent_of(sent) == taken
