"""What became of each resource, and when it is looked at again.

Every failure ends here as the condition of one resource with a back-off of its own. `status` makes the
conditions of it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from piko.background.backoff import Backoff
from piko.clock import Clock
from piko.observability.logs import get_logger
from piko.text import type_name
from piko_operator.cluster import ClusterError
from piko_operator.inventory import Inventory, Seen
from piko_operator.ownership import Condition, synced
from piko_operator.resource_backoff import ResourceBackoff

_BACKOFF = Backoff(first_s=0.2, longest_s=5.0)
_NOT_ITS_FAULT = frozenset({401, 408, 409, 429})
"""Refusals of the API server that are those of a moment."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncRecord:
    """What became of one generation of a resource; `drifted` is None where that could not be looked at."""

    generation: int
    synced: Condition
    drifted: Condition | None = None
    schedule: str | None = None


class SyncRecords:
    """The record of each resource by uid; belongs to one event loop."""

    def __init__(self, *, clock: Clock, inventory: Inventory) -> None:
        self._inventory = inventory
        self._records: dict[str, SyncRecord] = {}
        self._backoff = ResourceBackoff(clock=clock, backoff=_BACKOFF)

    def get(self, uid: str) -> SyncRecord | None:
        return self._records.get(uid)

    def failures(self, uid: str) -> int:
        """How often the resource was to be tried again since it last succeeded."""
        return self._backoff.failures(uid)

    def succeed(self, seen: Seen, record: SyncRecord) -> None:
        self._backoff.succeeded(seen.uid)
        self._records[seen.uid] = record

    def fail(self, seen: Seen, reason: str, message: str) -> None:
        """The row does not say what the resource says."""
        known = self._records.get(seen.uid)
        if known is None or known.synced.reason != reason:
            log.warning("not_synced", kind=seen.kind, namespace=seen.namespace, name=seen.name, reason=reason)
        self._records[seen.uid] = SyncRecord(
            generation=seen.generation,
            synced=synced("False", reason, message),
            schedule=known.schedule if known else None,
        )

    def refused(self, seen: Seen, error: ClusterError) -> None:
        """The API server does not take what is asked of it; one that is away is not the resource's fault."""
        if 400 <= error.status < 500 and error.status not in _NOT_ITS_FAULT:
            self.fail(seen, "ApiRefused", f"{error}; it is tried again")
        else:
            log.warning("cluster_call_failed", kind=seen.kind, name=seen.name, error=str(error))
        self.try_again(seen)

    def fault(self, seen: Seen, error: Exception) -> None:
        """An exception that nobody foresaw; its text may hold anything, and stays in the log."""
        if self._backoff.failures(seen.uid) == 0:
            log.error(
                "resource_failed", kind=seen.kind, namespace=seen.namespace, name=seen.name, exc_info=error
            )
        message = f"{type_name(error)}: the log of the operator has the traceback; it is tried again"
        self.fail(seen, "Failed", message)
        self.try_again(seen)

    def try_again(self, seen: Seen) -> None:
        """Have the resource looked at after a pause of its own."""
        pause = self._backoff.failed(seen.uid)
        asyncio.get_running_loop().call_later(pause, self._inventory.mark, seen.uid)

    def forget_the_gone(self) -> None:
        for uid in [uid for uid in self._records if uid not in self._inventory]:
            del self._records[uid]
        for uid in self._backoff.uids():
            if uid not in self._inventory:
                self._backoff.succeeded(uid)
