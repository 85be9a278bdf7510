"""Queues what the webhook is to hear of the jobs, while this replica leads.

A change and the row of `webhook_post` that announces it are written together, so that each change is queued
once, whichever replica leads and whatever the receiver does meanwhile. Where the queue is full, nothing more
is found until posts have left it: what still holds by then is announced then.
"""

from __future__ import annotations

import asyncio
from uuid import uuid4

from piko.background.periodic import Transient, repeat
from piko.clock import Clock
from piko.decisions.announcing import Announcing, Begins, Ends
from piko.decisions.webhook_posts import post_of
from piko.errors import DatabaseUnavailableError, FencedError
from piko.leadership.elector import Elector, leadership
from piko.model.fences import Fence
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.scheduler.announcing_pages import AnnouncingPages
from piko.store.webhook_posts import WebhookPostStore

_EVERY_S = 1.0
MOST_WAITING = 1000
"""Posts that wait at once."""

log = get_logger(__name__)


class WebhookQueue:
    """Looks every second while `elector` leads; sets `queued` when there is something to post."""

    name = "webhook_queue"

    def __init__(
        self,
        *,
        store: WebhookPostStore,
        pages: AnnouncingPages,
        queued: asyncio.Event,
        elector: Elector,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._pages = pages
        self._queued = queued
        self._elector = elector
        self._clock = clock
        self._metrics = metrics
        self._is_full = False

    async def run(self) -> None:
        """Look, until cancelled."""
        away = Transient(errors=(DatabaseUnavailableError,), report=self._failed)
        await repeat(self._look_if_leading, pause_s=_EVERY_S, transient=[away])

    async def _look_if_leading(self) -> None:
        fence = await leadership(self._elector)
        try:
            await self.look(fence)
        except FencedError:
            self._elector.deposed(fence)

    async def look(self, fence: Fence) -> None:
        """Queue what has begun and ended. Raises `FencedError` and `DatabaseUnavailableError`."""
        free = MOST_WAITING - await self._store.count()
        self._say_if_full(free)
        found = (await self._pages.next())[:free] if free > 0 else []
        if found:
            await self._queue(found, fence)

    async def _queue(self, found: list[Announcing], fence: Fence) -> None:
        now = self._clock.now()
        values = [item.value for item in found if item.value is not None]
        await self._store.queue(
            [post_of(value, post_id=uuid4().hex, now=now) for value in values],
            fence,
            begun=[item.row for item in found if isinstance(item, Begins)],
            ended=[item.row for item in found if isinstance(item, Ends)],
        )
        if values:
            self._queued.set()

    def _say_if_full(self, free: int) -> None:
        if free <= 0 and not self._is_full:
            log.error(
                "webhook_queue_full", waiting=MOST_WAITING - free,
                remedy="bring the receiver back; until then no further change is queued, and what begins and "
                "ends meanwhile is not announced",
            )  # fmt: skip
        self._is_full = free <= 0

    def _failed(self, error: Exception) -> None:
        self._metrics.db_errors.labels(self.name).inc()
        log.warning("webhook_queue_waits", error=str(error))
