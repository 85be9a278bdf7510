"""Calls the hooks of the app for what begins and ends in its jobs, while this replica leads.

What was announced is a row, which is written once the hooks have ended. So a new leader goes on where the
one before it stopped: it repeats what that one had called hooks for and not written yet, and omits nothing
that is still so.
"""

from __future__ import annotations

import asyncio

from piko.background.periodic import Transient, repeat
from piko.core.hooks import HookEvent
from piko.decisions.announcing import Announcing, Begins, event_of
from piko.errors import DatabaseUnavailableError, FencedError
from piko.execution.hook_calls import HookCalls
from piko.leadership.elector import Elector, leadership
from piko.model.announcements import AnnouncedKind
from piko.model.fences import Fence
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.scheduler.announcing_pages import AnnouncingPages
from piko.store.announcements import AnnouncementStore

_EVERY_S = 1.0

log = get_logger(__name__)


class Announcer:
    """Looks every second while `elector` leads."""

    name = "announcer"

    def __init__(
        self,
        *,
        store: AnnouncementStore,
        pages: AnnouncingPages,
        calls: HookCalls,
        elector: Elector,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._pages = pages
        self._calls = calls
        self._elector = elector
        self._metrics = metrics
        self._unwritten: list[tuple[Announcing, Fence]] = []
        """What hooks were called for while the database was away: it is not announced twice."""

    async def run(self) -> None:
        """Look, until cancelled."""
        away = Transient(errors=(DatabaseUnavailableError,), report=self._failed)
        await repeat(self._look_if_leading, pause_s=_EVERY_S, transient=[away])

    async def _look_if_leading(self) -> None:
        if not self._calls.events:
            await asyncio.Event().wait()  # hooks are declared before the start
        fence = await leadership(self._elector)
        try:
            await self.look(fence)
        except FencedError:
            self._unwritten = []
            self._elector.deposed(fence)

    async def look(self, fence: Fence) -> None:
        """Announce what has begun and ended. Raises `FencedError` and `DatabaseUnavailableError`."""
        await self._write_rest(fence)
        found = [item for item in await self._pages.next() if self._wants(item.row.kind)]
        for start in range(0, len(found), self._calls.at_once):
            if self._elector.acting != fence:
                return
            some = found[start : start + self._calls.at_once]
            await asyncio.gather(*map(self._announce, some))
            self._unwritten = [(item, fence) for item in some]
            await self._write_rest(fence)

    def _wants(self, kind: AnnouncedKind) -> bool:
        return not self._calls.events.isdisjoint({HookEvent(kind.value), HookEvent.RECOVERED})

    async def _announce(self, item: Announcing) -> None:
        if item.value is not None:
            await self._calls.announce(event_of(item.value), item.value)

    async def _write_rest(self, fence: Fence) -> None:
        while self._unwritten:
            item, under = self._unwritten[0]
            if under == fence:
                await (self._store.write if isinstance(item, Begins) else self._store.remove)(item.row, fence)
            self._unwritten.pop(0)

    def _failed(self, error: Exception) -> None:
        self._metrics.db_errors.labels(self.name).inc()
        log.warning("announcements_wait", error=str(error))
