"""Kubernetes events, posted beside everything else.

An event is a word to a person, and never worth a delay of the mirror: it waits in a bounded queue. Each
object has an allowance, as client-go gives it, so that one that changes its state every second does not fill
the API server.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from piko.clock import Clock
from piko.observability.logs import get_logger
from piko_operator.cluster import Cluster, ClusterError
from piko_operator.inventory import Seen
from piko_operator.ownership import Notice

_WAITING = 1_000
_AT_ONCE = 4
_BURST = 10
_SECONDS_EACH = 30.0
_OBJECTS = 20_000

log = get_logger(__name__)


@dataclass(slots=True)
class _Allowance:
    left: float
    at: float
    told: bool = False


class Events:
    """Takes notices at once and posts them as it can."""

    name = "events"

    def __init__(self, *, cluster: Cluster, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock
        self._queue: asyncio.Queue[tuple[Seen, Notice]] = asyncio.Queue(_WAITING)
        self._allowances: dict[str, _Allowance] = {}

    def post(self, seen: Seen, notice: Notice) -> None:
        """Have `notice` posted about the object, unless it or all objects had too many lately."""
        if not self._is_allowed(seen):
            return
        try:
            self._queue.put_nowait((seen, notice))
        except asyncio.QueueFull:
            log.warning("event_dropped", name=seen.name, reason=notice.reason, waiting=_WAITING)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(self._post_each())

    async def _post_each(self) -> None:
        while True:
            seen, notice = await self._queue.get()
            try:
                await self._cluster.announce(seen, notice)
            except ClusterError as error:
                log.warning(
                    "event_not_posted", reason=notice.reason, message=notice.message[:200], error=str(error)
                )

    def _is_allowed(self, seen: Seen) -> bool:
        now = self._clock.monotonic()
        allowance = self._allowances.pop(seen.uid, None) or _Allowance(left=_BURST, at=now)
        allowance.left = min(_BURST, allowance.left + (now - allowance.at) / _SECONDS_EACH)
        allowance.at = now
        self._allowances[seen.uid] = allowance
        if len(self._allowances) > _OBJECTS:
            del self._allowances[next(iter(self._allowances))]  # the one that had none for longest
        if allowance.left < 1:
            if not allowance.told:
                log.warning("events_held_back", kind=seen.kind, namespace=seen.namespace, name=seen.name)
            allowance.told = True
            return False
        allowance.left -= 1
        allowance.told = False
        return True
