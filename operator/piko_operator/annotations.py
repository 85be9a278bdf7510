"""The annotations that say how a resource is looked at: to pause what it runs, and to compare it now. Pure.

Neither changes the generation of a resource, so the status keeps the values that were handled, and an
operator that starts finds out from it whether one is new.
"""

from __future__ import annotations

from collections.abc import Mapping

PAUSED = "piko.dev/paused"
RECONCILE_AT = "piko.dev/reconcile-at"
_NOT_PAUSED = "false"


def pause_in(annotations: Mapping[str, str]) -> str | None:
    """Why it is paused, as the annotation says it: `true`, or a reason. None: it is not paused by it."""
    value = annotations.get(PAUSED)
    return None if value is None or value.strip().lower() == _NOT_PAUSED else value


def pause_message(value: str) -> str:
    """What a condition says of a schedule or a backfill that is paused by `value`."""
    return f"the annotation {PAUSED}={value!r} pauses it; without the annotation, spec.suspend decides"
