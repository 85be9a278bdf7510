"""A config as pages show it: without its secrets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from piko.model.config_schema import shown_config
from piko.model.revisions import revision_in_force
from piko.store.reports.config_history import RevisionReport
from piko.web.views.words import Mark, Moment, Tone, first_line, moment

_LONGEST = 20_000
_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionLine:
    """A revision in the history of a config."""

    number: int
    mark: Mark
    created: Moment | None
    effective: Moment | None
    author: str
    problem: str
    text: str


def history(revisions: Sequence[RevisionReport], now: datetime) -> list[RevisionLine]:
    """The newest of `revisions`, oldest first, and the one in force, as lines with the newest first."""
    current = revision_in_force(revisions, now)
    shown_ones = list(revisions[-_SHOWN:])
    if current is not None and current not in shown_ones:
        shown_ones.insert(0, current)
    return [_line(item, now, current=current) for item in reversed(shown_ones)]


def _line(item: RevisionReport, now: datetime, *, current: RevisionReport | None) -> RevisionLine:
    if item.error is not None:
        mark = Mark(text="Invalid", tone=Tone.BAD)
    elif current is not None and item.revision == current.revision:
        mark = Mark(text="In force", tone=Tone.GOOD)
    elif item.effective_from is not None and item.effective_from > now:
        mark = Mark(text="Coming", tone=Tone.BUSY)
    else:
        mark = Mark(text="Past", tone=Tone.QUIET)
    return RevisionLine(
        number=item.revision,
        mark=mark,
        created=moment(item.created_at, now),
        effective=moment(item.effective_from, now),
        author=item.author or ("SQL" if item.source in (None, "sql") else "resource"),
        problem=first_line(item.error or item.warning),
        text=shown(item.config_json, item.config_schema),
    )


def shown(config_json: str, config_schema: str | None) -> str:
    """The config, indented, without its secrets."""
    try:
        found = shown_config(config_json, config_schema)
    except ValueError:
        return "(not JSON)"
    return indented(found)


def indented(config: object) -> str:
    """A config that is shown as it is, over several lines; of a long one the beginning."""
    text = json.dumps(config, indent=2, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}\n… {len(text) - _LONGEST:,} more characters"
