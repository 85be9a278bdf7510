"""Sets and removes Piko's finalizer, a few at a time, after the rows are written.

A row is written at once; the finalizer, which costs a request for each resource, follows in the background.
So the row of the ten-thousandth resource does not wait for ten thousand requests. A resource that is deleted
before its finalizer is set is released like any other, because the watch shows the deletion; if the operator
ends between the two, the row is an orphan and is treated as one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from piko.background.backoff import Backoff
from piko.clock import Clock
from piko.observability.logs import get_logger
from piko_operator.cluster import Cluster
from piko_operator.cluster_error import ClusterError
from piko_operator.inventory import Inventory, Seen
from piko_operator.records import SyncRecords
from piko_operator.resource_backoff import ResourceBackoff

_AT_ONCE = 6
_CHANGED = frozenset({409, 422})
"""Answers to a patch that was made for an older state of the object."""
_BACKOFF = Backoff(first_s=0.2, longest_s=30.0)

log = get_logger(__name__)


class Finalizers:
    """Accepts resources without waiting, each at most once, and patches them in the background."""

    name = "finalizers"

    def __init__(
        self,
        *,
        clock: Clock,
        cluster: Cluster,
        inventory: Inventory,
        records: SyncRecords,
        news: Callable[[str], None],
    ) -> None:
        self._cluster = cluster
        self._inventory = inventory
        self._records = records
        self._news = news
        self._waiting: dict[str, None] = {}
        self._arrived = asyncio.Event()
        self._backoff = ResourceBackoff(clock=clock, backoff=_BACKOFF)
        self._released: set[str] = set()
        self._refused: set[str] = set()
        self._active: set[str] = set()
        self._after: set[str] = set()

    def want(self, seen: Seen) -> None:
        """Have the finalizer set, or removed if the resource is being deleted and its row is released."""
        if seen.deleting:
            self._released.add(seen.uid)
        elif seen.uid in self._active or self._backoff.is_waiting(seen.uid):
            return
        self._waiting[seen.uid] = None
        self._arrived.set()

    def is_refused(self, seen: Seen) -> bool:
        """Whether the finalizer of a resource could not be set so far."""
        return seen.uid in self._refused

    async def run(self) -> None:
        """Patch what is wanted until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(self._patch_each())

    async def _patch_each(self) -> None:
        while True:
            while not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            uid = next(iter(self._waiting))
            del self._waiting[uid]
            if uid in self._active:  # one request at a time for each object
                self._after.add(uid)
                continue
            self._active.add(uid)
            try:
                await self._patch_one(uid)
            finally:
                self._active.discard(uid)
            if uid in self._after:
                self._after.discard(uid)
                self._again(uid)

    async def _patch_one(self, uid: str) -> None:
        seen = self._inventory.get(uid)
        if seen is None:
            self._settled(uid)
            return
        try:
            await self._patch(seen)
        except Exception as error:  # noqa: BLE001 any error belongs to this resource
            self._failed(seen, error)

    async def _patch(self, seen: Seen) -> None:
        if not seen.deleting:
            if not seen.is_held:
                self._inventory.observe(await self._cluster.hold(seen))
        elif seen.uid in self._released:
            if seen.is_held:
                await self._cluster.let_go(seen)
            log.info("resource_released", kind=seen.kind, namespace=seen.namespace, name=seen.name)
            self._inventory.forget(seen.uid)
        if seen.uid in self._refused:
            self._inventory.compare(seen.uid)
        self._settled(seen.uid)

    def _failed(self, seen: Seen, error: Exception) -> None:
        if isinstance(error, ClusterError) and error.status == 404:
            self._settled(seen.uid)
            return
        pause_s = self._backoff.failed(seen.uid)
        asyncio.get_running_loop().call_later(pause_s, self._again, seen.uid)
        if isinstance(error, ClusterError) and error.status in _CHANGED and pause_s < _BACKOFF.longest_s:
            return  # somebody else has changed the finalizers; the next try starts from what they are
        self._refused.add(seen.uid)
        if isinstance(error, ClusterError):
            self._records.refused(seen, error)
        else:
            self._records.fault(seen, error)
        self._news(seen.uid)

    def _again(self, uid: str) -> None:
        self._waiting[uid] = None
        self._arrived.set()

    def _settled(self, uid: str) -> None:
        self._backoff.succeeded(uid)
        self._released.discard(uid)
        self._refused.discard(uid)
