"""Kubernetes events, posted in the background.

An event informs a person and must never delay the mirror, so it waits in a bounded queue. As in client-go, an
event that says the same again is counted and not posted again, and each object has a rate limit, so that one
that changes its state every second does not flood the API server.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from piko.clock import Clock
from piko.observability.logs import get_logger
from piko_operator.cluster import Cluster
from piko_operator.cluster_error import ClusterError
from piko_operator.inventory import Seen
from piko_operator.ownership import Notice

_WAITING = 1_000
_AT_ONCE = 4
_BURST = 10
_SECONDS_EACH = 30.0
_OBJECTS = 20_000
_POSTED = 4_096
_LOST = (403, 404)
"""Events that cannot be counted: the API server forgets them after an hour, or the right is missing."""

log = get_logger(__name__)


@dataclass(slots=True)
class _Allowance:
    left: float
    at: float
    logged: bool = False


@dataclass(frozen=True, slots=True)
class _Posted:
    name: str
    count: int


class Events:
    """Accepts notices without waiting and posts them in the background."""

    name = "events"

    def __init__(self, *, cluster: Cluster, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock
        self._queue: asyncio.Queue[tuple[Seen, Notice]] = asyncio.Queue(_WAITING)
        self._allowances: dict[str, _Allowance] = {}
        self._posted: dict[tuple[str, str, str], _Posted] = {}

    def post(self, seen: Seen, notice: Notice) -> None:
        """Queue `notice` for the object, unless its rate limit is reached or the queue is full."""
        if not self._is_allowed(seen):
            return
        try:
            self._queue.put_nowait((seen, notice))
        except asyncio.QueueFull:
            log.warning("event_dropped", name=seen.name, reason=notice.reason, waiting=_WAITING)

    async def run(self) -> None:
        """Post events until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(self._post_each())

    async def _post_each(self) -> None:
        while True:
            seen, notice = await self._queue.get()
            try:
                await self._say(seen, notice)
            except ClusterError as error:
                log.warning(
                    "event_not_posted", reason=notice.reason, message=notice.message[:200], error=str(error)
                )

    async def _say(self, seen: Seen, notice: Notice) -> None:
        """Post the event, or count it once more. Raises `ClusterError`."""
        key = (seen.uid, notice.reason, notice.message)
        posted = await self._counted(seen, self._posted.pop(key, None))
        self._posted[key] = posted or _Posted(await self._cluster.announce(seen, notice), 1)
        if len(self._posted) > _POSTED:
            del self._posted[next(iter(self._posted))]  # the least recently posted one

    async def _counted(self, seen: Seen, posted: _Posted | None) -> _Posted | None:
        if posted is None:
            return None
        try:
            await self._cluster.announce_again(seen, posted.name, count=posted.count + 1)
        except ClusterError as error:
            if error.status not in _LOST:
                raise
            return None
        return _Posted(posted.name, posted.count + 1)

    def _is_allowed(self, seen: Seen) -> bool:
        now = self._clock.monotonic()
        allowance = self._allowances.pop(seen.uid, None) or _Allowance(left=_BURST, at=now)
        allowance.left = min(_BURST, allowance.left + (now - allowance.at) / _SECONDS_EACH)
        allowance.at = now
        self._allowances[seen.uid] = allowance
        if len(self._allowances) > _OBJECTS:
            del self._allowances[next(iter(self._allowances))]  # the least recently used one
        if allowance.left < 1:
            if not allowance.logged:
                log.warning("events_held_back", kind=seen.kind, namespace=seen.namespace, name=seen.name)
            allowance.logged = True
            return False
        allowance.left -= 1
        allowance.logged = False
        return True
