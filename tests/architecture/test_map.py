"""`docs/architecture.md` is the map of the code: every package is on it, and every state is drawn."""

from __future__ import annotations

import re
from enum import StrEnum

import pytest

from piko.core.types import FINAL_STATES, BackfillState, JobStatus, RunState
from piko.leadership.candidacy import Standing
from piko.model.backfills import OPEN_STATES
from tests.architecture.sources import PACKAGES
from tests.docs.pages import read

_OUTSIDE = "[*]"
_DRAWN: list[tuple[str, type[StrEnum]]] = [
    ("A run", RunState),
    ("A job", JobStatus),
    ("A backfill", BackfillState),
    ("Leadership", Standing),
]


def _section(heading: str, *, level: int = 3) -> str:
    mark = "#" * level
    rest = read("architecture.md").partition(f"\n{mark} {heading}\n")[2]
    assert rest, f"docs/architecture.md has no heading {heading!r}"
    return re.split(rf"^#{{1,{level}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def _arrows(heading: str) -> set[tuple[str, str]]:
    """The arrows of the state diagram under a heading, without their labels."""
    return set(re.findall(r"^ +(\[\*\]|\w+) --> (\[\*\]|\w+)", _section(heading), flags=re.MULTILINE))


def test_every_package_is_on_the_map_and_the_map_shows_no_other() -> None:
    for package in PACKAGES:
        there = {
            f"{path.parent.relative_to(package)}/"
            for path in package.rglob("__init__.py")
            if path.parent != package
        }
        heading = f"`{package.relative_to(package.parents[1])}/`"
        shown = re.findall(r"^\| `([\w/]+/)` \|", _section(heading), flags=re.MULTILINE)
        assert sorted(shown) == sorted(there), heading


def test_every_module_of_the_operator_has_its_place_on_the_map() -> None:
    _, operator = PACKAGES
    there = {path.stem for path in operator.glob("*.py") if not path.stem.startswith("__")}
    shown = re.findall(r"`(\w+)`", _section("`operator/piko_operator/`"))
    assert there - set(shown) == set()


@pytest.mark.parametrize(("heading", "states"), _DRAWN, ids=[heading for heading, _ in _DRAWN])
def test_every_state_is_drawn_and_can_be_entered(heading: str, states: type[StrEnum]) -> None:
    arrows = _arrows(heading)
    assert {state for arrow in arrows for state in arrow} - {_OUTSIDE} == {str(state) for state in states}
    assert {target for _, target in arrows} - {_OUTSIDE} == {str(state) for state in states}


@pytest.mark.parametrize(
    ("heading", "final"),
    [("A run", FINAL_STATES), ("A backfill", frozenset(BackfillState) - frozenset(OPEN_STATES))],
)
def test_a_final_state_leads_nowhere_and_every_other_leads_on(
    heading: str, final: frozenset[StrEnum]
) -> None:
    arrows = _arrows(heading)
    ending = {source for source, target in arrows if target == _OUTSIDE}
    assert ending == {str(state) for state in final}
    assert {source for source, target in arrows if target != _OUTSIDE}.isdisjoint(ending)
