"""What a replica says of each of its sinks with its sign of life.

Only the replica knows what waits in its memory and on its disk. It writes a bounded summary into its own row,
where `piko status`, the API and the page find it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from piko.text import excerpt

_MOST = 100
_TEXT = 300
_NAME = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkState:
    """One sink of one replica.

    `waiting` counts what is not delivered yet. `oldest_at` is when the first of it was put on disk; None
    where all of it is in memory, and so only seconds old. `error` is that of a sink that fails now, since
    `failing_since`. `dead_letters` counts what it has refused, the first at `first_died_at`.
    """

    sink: str
    durability: str
    waiting: int
    oldest_at: datetime | None = None
    error: str | None = None
    failing_since: datetime | None = None
    dead_letters: int = 0
    first_died_at: datetime | None = None


def sinks_text(states: Iterable[SinkState]) -> str | None:
    """`states` as a column holds them: JSON, at most 100 sinks, those in trouble first; None: no sinks."""
    ordered = sorted(states, key=lambda item: (item.error is None, not item.dead_letters, item.sink))
    document = [_written(item) for item in ordered[:_MOST]]
    return json.dumps(document, ensure_ascii=False) if document else None


def read_sinks(text: str | None) -> tuple[SinkState, ...]:
    """The states of a column by name; none where they cannot be read: a later release has written them."""
    try:
        found = [_read(item) for item in json.loads(text or "[]")[:_MOST]]
    except (ValueError, TypeError, KeyError):
        return ()
    return tuple(sorted(found, key=lambda item: item.sink))


def _written(item: SinkState) -> dict[str, object]:
    return {
        "sink": excerpt(item.sink, limit=_NAME),
        "durability": item.durability,
        "waiting": item.waiting,
        "oldest_at": _stamp(item.oldest_at),
        "error": None if item.error is None else excerpt(item.error, limit=_TEXT),
        "failing_since": _stamp(item.failing_since),
        "dead_letters": item.dead_letters,
        "first_died_at": _stamp(item.first_died_at),
    }


def _read(item: Mapping[str, Any]) -> SinkState:
    return SinkState(
        sink=str(item["sink"]),
        durability=str(item["durability"]),
        waiting=int(item["waiting"]),
        oldest_at=_moment(item["oldest_at"]),
        error=None if item["error"] is None else str(item["error"]),
        failing_since=_moment(item["failing_since"]),
        dead_letters=int(item["dead_letters"]),
        first_died_at=_moment(item["first_died_at"]),
    )


def _stamp(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="seconds")


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)
