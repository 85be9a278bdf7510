"""Whom `change_log` names for what a resource says. Pure.

The API server keeps which program wrote a spec last, and no user; so that is who made the change. What the
operator does by itself, because a row was edited or a resource has vanished, is its own.
"""

from __future__ import annotations

from dataclasses import replace

from piko.model.changes import Actor
from piko.model.managed import OPERATOR, Change, R
from piko_operator.annotations import PAUSED
from piko_operator.inventory import Seen
from piko_operator.ownership import Decision
from piko_operator.trigger_annotation import TRIGGER


def named(change: Change[R], seen: Seen, owner: str, decision: Decision[R] | None) -> Change[R]:
    """`change`, which `decision` on the resource `seen` asks for; None: the resource is deleted."""
    resource = _resource(seen, owner)
    if decision is None:
        # Who deletes a resource leaves no name in it.
        by = Actor(who=_name(seen), via="resource", reason=f"{resource}, deleted")
        return replace(change, by=by)
    if decision.corrects_drift:
        by = replace(OPERATOR, reason=f"{resource}, which has not changed: the row was edited")
        return replace(change, by=by, restores=True)
    if _is_by_annotation(seen):
        return replace(change, by=_by_pause(seen, owner))
    by = Actor(
        who=seen.manager or _name(seen), via="resource", reason=f"{resource}, generation {seen.generation}"
    )
    return replace(change, by=by)


def _by_pause(seen: Seen, owner: str) -> Actor:
    """Who has set or removed the annotation that pauses."""
    said = f"without {PAUSED}" if seen.paused is None else f"{PAUSED}={seen.paused!r}"
    reason = f"{_resource(seen, owner)}, {said}"
    return Actor(who=seen.paused_manager or _name(seen), via="resource", reason=reason)


def _is_by_annotation(seen: Seen) -> bool:
    """Whether the pause by annotation has changed, and the spec has not."""
    is_known = seen.status.get("observedGeneration") == seen.generation
    return is_known and seen.status.get("paused") != seen.paused


def triggering(seen: Seen, owner: str, *, value: str) -> Actor:
    """Who triggers the job by giving the annotation of its resource this value."""
    reason = f"{_resource(seen, owner)}, {TRIGGER}={value!r}"
    return Actor(who=seen.trigger_manager or _name(seen), via="resource", reason=reason)


def asking(seen: Seen, owner: str) -> Actor:
    """Who asks for a backfill, or changes it, by its resource."""
    if not seen.deleting and _is_by_annotation(seen):
        return _by_pause(seen, owner)
    said = "deleted" if seen.deleting else f"generation {seen.generation}"
    who = _name(seen) if seen.deleting else seen.manager or _name(seen)
    return Actor(who=who, via="resource", reason=f"{_resource(seen, owner)}, {said}")


def _resource(seen: Seen, owner: str) -> str:
    return f"{seen.kind} {seen.namespace}/{seen.name} of cluster {owner.partition('/')[0]}"


def _name(seen: Seen) -> str:
    return f"{seen.kind.lower()}/{seen.name}"
