"""A line of `change_log` as people read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from piko.model.changes import LoggedChange
from piko.text import excerpt
from piko.web.views import links
from piko.web.views.words import Moment, as_text, facts_in, moment

_LONGEST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One fact that changed. An empty text: there was none, or there is none any more."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeLine:
    """A change in a list: who made it, by which way and why, and what it changed."""

    at: Moment | None
    who: str
    via: str
    what: str
    job_id: str
    job_link: str
    reason: str
    differences: tuple[Difference, ...]


def change_line(change: LoggedChange, now: datetime) -> ChangeLine:
    """`change` as a line of a list."""
    return ChangeLine(
        at=moment(change.at, now),
        who=change.who,
        via=change.via,
        what=change.what.replace("_", " "),
        job_id=change.job_id or "",
        job_link=links.job(change.job_id) if change.job_id else "",
        reason=change.reason or "",
        differences=_differences(facts_in(change.before), facts_in(change.after)),
    )


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Difference, ...]:
    names = dict.fromkeys((*before, *after))
    return tuple(
        Difference(name=name, before=_shown(before, name), after=_shown(after, name))
        for name in names
        if name not in before or name not in after or before[name] != after[name]
    )


def _shown(facts: Mapping[str, Any], name: str) -> str:
    if name not in facts:
        return ""
    return excerpt(as_text(facts[name]), limit=_LONGEST)
