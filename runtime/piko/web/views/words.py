"""Instants, lengths and states in the words of the page."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from piko.core.types import JobStatus, RunState
from piko.tables import ago
from piko.text import first_line as line_of
from piko.text import instant_text, span


class Tone(StrEnum):
    """How a thing is marked: by colour and by shape, beside the word that says it."""

    GOOD = "good"
    BAD = "bad"
    WARN = "warn"
    BUSY = "busy"
    QUIET = "quiet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A word and its tone."""

    text: str
    tone: Tone


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """An instant as a person reads it: `text` is its distance, `exact` the instant in UTC."""

    text: str
    exact: str
    machine: str


_RUN_TONES = {
    RunState.QUEUED: Tone.QUIET,
    RunState.RUNNING: Tone.BUSY,
    RunState.SUCCESS: Tone.GOOD,
    RunState.FAILED: Tone.BAD,
    RunState.TIMEOUT: Tone.BAD,
    RunState.LOST: Tone.BAD,
    RunState.CANCELLED: Tone.WARN,
    RunState.SKIPPED: Tone.QUIET,
    RunState.MISSED: Tone.WARN,
}
_JOB_MARKS = {
    JobStatus.SCHEDULED: Mark(text="Scheduled", tone=Tone.GOOD),
    JobStatus.DISABLED: Mark(text="Paused", tone=Tone.QUIET),
    JobStatus.COMPLETED: Mark(text="Completed", tone=Tone.QUIET),
    JobStatus.INVALID: Mark(text="Invalid", tone=Tone.BAD),
    JobStatus.UNREGISTERED: Mark(text="Unregistered", tone=Tone.WARN),
    JobStatus.WAITING_FOR_CONFIG: Mark(text="Waiting for config", tone=Tone.WARN),
}
_UNSEEN = Mark(text="Unseen", tone=Tone.WARN)


def run_mark(state: str, *, count: int | None = None) -> Mark:
    """The mark of a run in `state`; `count` due times share a MISSED or SKIPPED row."""
    known = RunState(state)
    times = f" x{count}" if count is not None and count > 1 else ""
    return Mark(text=known.value.capitalize() + times, tone=_RUN_TONES[known])


def job_mark(status: str | None) -> Mark:
    """The mark of a job whose status the leader says; None: no leader has seen its row."""
    return _UNSEEN if status is None else _JOB_MARKS[JobStatus(status)]


def moment(instant: datetime | None, now: datetime) -> Moment | None:
    """`instant` as it is shown at `now`."""
    if instant is None:
        return None
    return Moment(text=ago(instant, now), exact=stamp(instant), machine=instant_text(instant))


def stamp(instant: datetime) -> str:
    """`2026-01-08 03:00:00 UTC`."""
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC"


def length(seconds: float | None) -> str:
    """How long something took: `340 ms`, `12.3 s`, `5m`; empty if it is not known."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else span(seconds)


def first_line(text: str | None, *, most: int = 300) -> str:
    """The line of an error that says the most, as a page has room for it."""
    return line_of(text, most=most)


def facts_in(text: str | None, *, otherwise: str = "") -> dict[str, Any]:
    """The values of a JSON object by name; any other text is one value, which is called `otherwise`."""
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        found = text
    return found if isinstance(found, dict) else {otherwise: found}


def as_text(value: object) -> str:
    """A value as people read it: a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def owner(managed_by: str | None) -> str:
    """Who owns a row: `SQL`, or the namespace and name of the resource."""
    if managed_by is None:
        return "SQL"
    parts = managed_by.split("/")
    return f"{parts[1]}/{parts[2]}" if len(parts) == 4 else managed_by
