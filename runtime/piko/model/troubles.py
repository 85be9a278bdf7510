"""What only one process knows of its troubles, as it says them with its sign of life.

A replica alone knows that a sink of its takes nothing, an operator alone that a resource has drifted. Each
writes a bounded list of such troubles into its own row, where `piko status`, the API and the page find them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from piko.text import excerpt

_MOST = 20
_TEXT = 500
_NAME = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedTrouble:
    """One trouble: of which kind, of what (a sink, a job, a resource), in one sentence, since when."""

    kind: str
    subject: str
    text: str
    since: datetime


def troubles_text(troubles: Iterable[ReportedTrouble]) -> str | None:
    """`troubles` as a column holds them: JSON, at most 20 of them, each cut; None if there are none."""
    found = list(troubles)
    if not found:
        return None
    shown = found[:_MOST]
    document = [
        {
            "kind": item.kind,
            "subject": excerpt(item.subject, limit=_NAME),
            "text": excerpt(item.text, limit=_TEXT),
            "since": item.since.astimezone(UTC).isoformat(timespec="seconds"),
        }
        for item in shown
    ]
    if len(found) > _MOST:
        document[-1]["text"] = excerpt(f"and {len(found) - _MOST} more: {shown[-1].text}", limit=_TEXT)
    return json.dumps(document, ensure_ascii=False)


def read_troubles(text: str | None) -> tuple[ReportedTrouble, ...]:
    """The troubles of a column; one that cannot be read says so, and hides no other."""
    if text is None:
        return ()
    try:
        return tuple(
            ReportedTrouble(
                kind=str(item["kind"]),
                subject=str(item["subject"]),
                text=str(item["text"]),
                since=datetime.fromisoformat(item["since"]).astimezone(UTC),
            )
            for item in json.loads(text)[:_MOST]
        )
    except (ValueError, TypeError, KeyError):  # of a later release, or edited by hand
        return (
            ReportedTrouble(
                kind="trouble",
                subject="",
                text=f"what it says of itself cannot be read: {excerpt(text, limit=_TEXT)}",
                since=datetime.fromtimestamp(0, UTC),
            ),
        )
