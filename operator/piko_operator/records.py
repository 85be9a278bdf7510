"""The result for each resource, and when it is tried again; also how its trigger annotation was answered.

Every failure is recorded here as the condition of one resource, with its own back-off. `status` turns records
into conditions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from piko.background.backoff import Backoff
from piko.clock import Clock
from piko.observability.logs import get_logger
from piko.text import type_name
from piko_operator.cluster_error import ClusterError
from piko_operator.inventory import Inventory, Seen
from piko_operator.ownership import Condition, synced
from piko_operator.resource_backoff import ResourceBackoff
from piko_operator.trigger_annotation import TriggerAnswer

_BACKOFF = Backoff(first_s=0.2, longest_s=5.0)
_NOT_ITS_FAULT = frozenset({401, 408, 409, 429})
"""Temporary refusals of the API server."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncRecord:
    """The result for one generation of a resource; `drifted` is None if drift could not be checked.

    `paused` is the pause by annotation that the row follows, `reconcile_at` the value of the annotation that
    asked for the comparison.
    """

    generation: int
    synced: Condition
    drifted: Condition | None = None
    schedule: str | None = None
    paused: str | None = None
    reconcile_at: str | None = None

    @property
    def has_drifted(self) -> bool:
        """Whether the row was edited, and stays so."""
        return self.drifted is not None and self.drifted.status == "True"


class SyncRecords:
    """The record of each resource by uid, and which generation was written. For use on one event loop."""

    def __init__(self, *, clock: Clock, inventory: Inventory) -> None:
        self._inventory = inventory
        self._records: dict[str, SyncRecord] = {}
        self._differing: dict[str, None] = {}
        self._settled: dict[str, tuple[int, str | None]] = {}
        self._answers: dict[str, TriggerAnswer] = {}
        self._backoff = ResourceBackoff(clock=clock, backoff=_BACKOFF)

    def get(self, uid: str) -> SyncRecord | None:
        return self._records.get(uid)

    @property
    def differing(self) -> Mapping[str, SyncRecord]:
        """By uid, the records of resources that differ from their row, as far as that is known."""
        return {uid: self._records[uid] for uid in self._differing}

    def failures(self, uid: str) -> int:
        """The number of retries since the resource last succeeded."""
        return self._backoff.failures(uid)

    def succeed(self, seen: Seen, record: SyncRecord) -> None:
        self._backoff.succeeded(seen.uid)
        self._note(seen.uid, record)
        if record.drifted is None or record.drifted.status == "Unknown":
            self._settled.pop(seen.uid, None)
        else:
            self._settled[seen.uid] = seen.generation, seen.paused

    def is_settled(self, seen: Seen) -> bool:
        """Whether this was written before, by this process or by one before it: generation and pause."""
        if seen.uid in self._settled:
            return self._settled[seen.uid] == (seen.generation, seen.paused)
        drifted = [item for item in seen.status.get("conditions") or [] if item.get("type") == "Drifted"]
        return (
            seen.status.get("observedGeneration") == seen.generation
            and seen.status.get("paused") == seen.paused
            and all(item.get("status") != "Unknown" for item in drifted)
        )

    def fail(self, seen: Seen, reason: str, message: str) -> None:
        """Record that the row does not match the resource."""
        known = self._records.get(seen.uid)
        if known is None or known.synced.reason != reason:
            log.warning("not_synced", kind=seen.kind, namespace=seen.namespace, name=seen.name, reason=reason)
        record = SyncRecord(
            generation=seen.generation,
            synced=synced("False", reason, message),
            schedule=known.schedule if known else None,
            paused=known.paused if known else seen.status.get("paused"),
            reconcile_at=seen.reconcile_at,
        )
        self._note(seen.uid, record)

    def unknown(self, seen: Seen, reason: str, message: str) -> bool:
        """Record that nothing is known of the row of a resource that has something to write.

        Returns whether that is new. The first message stays, so that an outage is reported once.
        """
        known = self._records.get(seen.uid)
        if known is not None and known.generation == seen.generation:
            return False
        if known is None and _was_synced(seen):
            return False
        record = SyncRecord(
            generation=seen.generation,
            synced=synced("Unknown", reason, message),
            schedule=known.schedule if known else None,
            paused=known.paused if known else seen.status.get("paused"),
            reconcile_at=known.reconcile_at if known else seen.status.get("lastHandledReconcileAt"),
        )
        self._note(seen.uid, record)
        return True

    def refused(self, seen: Seen, error: ClusterError) -> None:
        """Record a failed call; an unavailable API server is not the resource's fault."""
        if 400 <= error.status < 500 and error.status not in _NOT_ITS_FAULT:
            self.fail(seen, "ApiRefused", f"{error}; this is retried")
        else:
            log.warning("cluster_call_failed", kind=seen.kind, name=seen.name, error=str(error))

    def fault(self, seen: Seen, error: Exception) -> None:
        """Record an unexpected exception. Its text may contain anything, so it goes only to the log."""
        if self._backoff.failures(seen.uid) == 0:
            log.error(
                "resource_failed", kind=seen.kind, namespace=seen.namespace, name=seen.name, exc_info=error
            )
        message = f"{type_name(error)}: the log of the operator has the traceback; this is retried"
        self.fail(seen, "Failed", message)

    def try_again(self, seen: Seen) -> None:
        """Mark the resource again after its own pause."""
        pause_s = self._backoff.failed(seen.uid)
        asyncio.get_running_loop().call_later(pause_s, self._inventory.compare, seen.uid)

    def answered(self, seen: Seen, answer: TriggerAnswer) -> None:
        """Record what was done about the value of the resource's trigger annotation."""
        self._answers[seen.uid] = answer

    def answer(self, uid: str) -> TriggerAnswer | None:
        """The last such answer of this process."""
        return self._answers.get(uid)

    def forget(self, uid: str) -> None:
        """Drop what is recorded of a deleted resource."""
        self._records.pop(uid, None)
        self._differing.pop(uid, None)
        self._answers.pop(uid, None)
        self._settled.pop(uid, None)
        self._backoff.succeeded(uid)

    def _note(self, uid: str, record: SyncRecord) -> None:
        self._records[uid] = record
        if record.has_drifted or record.synced.status == "False":
            self._differing[uid] = None
        else:
            self._differing.pop(uid, None)


def _was_synced(seen: Seen) -> bool:
    """Whether the status says that this generation was written."""
    return any(
        item.get("type") == "Synced"
        and item.get("status") == "True"
        and item.get("observedGeneration") == seen.generation
        for item in seen.status.get("conditions") or []
    )
