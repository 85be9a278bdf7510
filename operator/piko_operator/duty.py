"""What the acting replica does, from when it acquires the Lease until it loses it.

Its parts are built for each leadership, so that nothing which an earlier one has known is used in a later
one. A standby has none: no watch, and no request but for the Lease.

At a stop the parts that write end first, then the Lease is released, and the watch, which only listens and
may take seconds to close, ends last: so the next replica acts at once, and no two ever write.
"""

from __future__ import annotations

from collections.abc import Callable

from piko.background.supervisor import Supervisor
from piko.leadership.elector import Elector, leadership
from piko.observability.logs import get_logger
from piko_operator.composition import OperatorParts
from piko_operator.metrics import OperatorMetrics

log = get_logger(__name__)


class Duty:
    """Runs the parts while this replica acts."""

    name = "duty"

    def __init__(
        self, *, elector: Elector, compose: Callable[[], OperatorParts], metrics: OperatorMetrics
    ) -> None:
        self._elector = elector
        self._compose = compose
        self._supervisor = Supervisor(restarts=metrics.part_restarts)
        self._parts: OperatorParts | None = None

    @property
    def ended(self) -> list[str]:
        """Parts that returned without being ended. May be read from any thread."""
        return self._supervisor.ended

    @property
    def watch_still_for_s(self) -> float:
        """Seconds that the watch has stood still; 0 on standby. May be read from any thread."""
        parts = self._parts
        return 0.0 if parts is None else parts.watch.still_for_s

    @property
    def reasons(self) -> list[str]:
        """Why this replica cannot do its work now; empty if it can. May be read from any thread."""
        failing = [f"{name} fails: {error}" for name, error in list(self._supervisor.failing.items())]
        parts = self._parts
        if parts is None:
            unread = None if self._elector.has_looked else "the Lease has not been read yet"
            trouble = self._elector.trouble or unread
            return failing + ([] if trouble is None else [trouble])
        return failing + parts.reasons

    async def run(self) -> None:
        """Act whenever this replica holds the Lease, until cancelled."""
        while True:
            fence = await leadership(self._elector)
            self._parts = parts = self._compose()
            log.info("operator_acts")
            for part in (parts.watch, *parts.writers):  # ended in the opposite order
                self._supervisor.start(part)
            try:
                while self._elector.acting == fence:
                    await self._elector.news()
            finally:
                await self.stop_writing()
            await self.stop_watching()
            log.warning("operator_on_standby")

    async def stop_writing(self) -> None:
        """End the parts that write."""
        if self._parts is not None:
            for part in reversed(self._parts.writers):
                await self._supervisor.stop(part.name)

    async def stop_watching(self) -> None:
        """End what is left."""
        await self._supervisor.stop_all()
        self._parts = None
