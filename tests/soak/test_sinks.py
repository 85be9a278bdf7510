"""The judge of the sinks misses nothing that it is there for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.soak.sinks import IN_FLIGHT_S, Evidence, Taken, lost, misjudged

KILLED, ENDED = 1, 2
GOOD = Evidence(
    taken=[
        Taken("spooled", "good-1", KILLED, 0.0),
        Taken("spooled", "bad-2", KILLED, 1.0),
        Taken("memory", "good-3", ENDED, 2.0),
    ],
    written={("spooled", "good-1"), ("memory", "good-3")},
    dead={("spooled", "bad-2"): "ValueError: cannot write bad-2"},
    last_sign={KILLED: 1.0, ENDED: 2.0},
    ended={ENDED},
)


def test_what_is_as_promised_is_no_violation() -> None:
    assert [*lost(GOOD), *misjudged(GOOD)] == []


def test_what_was_in_memory_at_a_kill_may_be_missing() -> None:
    found = replace(GOOD, taken=[*GOOD.taken, Taken("memory", "good-4", KILLED, 1.0)])
    assert list(lost(found)) == []


@pytest.mark.parametrize(
    "missing",
    [
        Taken("spooled", "good-4", KILLED, 1.0),
        Taken("memory", "good-4", ENDED, 2.0),
        Taken("memory", "good-4", KILLED, 1.0 - IN_FLIGHT_S),
    ],
    ids=["on disk", "at a clean stop", "long before the kill"],
)
def test_what_is_lost_is_found(missing: Taken) -> None:
    (text,) = lost(replace(GOOD, taken=[*GOOD.taken, missing]))
    assert "good-4" in text


@pytest.mark.parametrize(
    "dead",
    [
        {("spooled", "good-9"): "ConnectionError: the sink is down"},
        {("spooled", "bad-9"): "ConnectionError: the sink is down"},
    ],
)
def test_a_wrong_burial_is_found(dead: Any) -> None:
    assert len(list(misjudged(replace(GOOD, dead=dead)))) == 1
