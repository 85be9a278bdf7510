"""What only this replica knows of its troubles, for its row in the database.

Others see what a replica writes; that it is not ready, that a sink of its takes nothing or has refused
records, or that a handler has blocked its event loop is known nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from piko.clock import Clock
from piko.errors import SpoolError
from piko.model.instances import Instance
from piko.model.troubles import ReportedTrouble
from piko.observability.watchdog import Watchdog
from piko.persistence.writer import PersistenceWriter
from piko.replica.readiness import Readiness

_BLOCKED_LATELY_S = 600.0

Said = tuple[str, str, str, datetime | None]
"""Kind, subject, text, and since when if that is known."""


class ReplicaTroubles:
    """Collects them, and remembers since when each has lasted. For use on one event loop."""

    def __init__(
        self, *, instance: Instance, writer: PersistenceWriter, watchdog: Watchdog, clock: Clock
    ) -> None:
        self._instance = instance
        self._writer = writer
        self._watchdog = watchdog
        self._clock = clock
        self._readiness: Callable[[], Readiness] | None = None
        self._since: dict[tuple[str, str], datetime] = {}

    def watch(self, readiness: Callable[[], Readiness]) -> None:
        """Ask `readiness` too, which the replica knows once it is whole."""
        self._readiness = readiness

    async def look(self) -> list[ReportedTrouble]:
        """The troubles of now. Never raises because of one of them."""
        now = self._clock.now()
        said = [*self._of_event_loop(now), *self._of_sinks(), *await self._of_dead_letters()]
        unready = list(self._of_readiness())
        # A start or a change of leader passes by itself: what lasts until the next look is said.
        said += [item for item in unready if item[:2] in self._since]
        known = self._since
        self._since = {item[:2]: item[3] or known.get(item[:2], now) for item in (*said, *unready)}
        return [
            ReportedTrouble(kind=kind, subject=subject, text=text, since=self._since[kind, subject])
            for kind, subject, text, _ in said
        ]

    def _of_readiness(self) -> Iterator[Said]:
        if self._readiness is None:
            return
        reasons = [reason for reason in self._readiness().reasons if reason != "stopping"]
        if reasons:
            yield "not_ready", f"replica {self._instance.host}", "; ".join(reasons), None

    def _of_event_loop(self, now: datetime) -> Iterator[Said]:
        ended = self._watchdog.latest
        if ended is None:
            return
        ago_s = self._clock.monotonic() - ended.ended_at
        if ago_s > _BLOCKED_LATELY_S:
            return
        subject = ended.blockage.job_id or f"replica {self._instance.host}"
        text = f"{ended.blockage.by} blocked the event loop for {ended.length_s:.1f} s"
        yield "blocked_loop", subject, text, now - timedelta(seconds=ago_s + ended.length_s)

    def _of_sinks(self) -> Iterator[Said]:
        for sink, error in sorted(self._writer.failing.items()):
            yield "sink_stuck", f"sink {sink}", f"it takes nothing: {error}", None

    async def _of_dead_letters(self) -> list[Said]:
        try:
            dead = await self._writer.dead_letters()
        except SpoolError as error:
            return [("spool", f"replica {self._instance.host}", str(error), None)]
        return [
            (
                "dead_letters",
                f"sink {sink}",
                f"it refused {count} record{'' if count == 1 else 's'}",
                datetime.fromisoformat(first),
            )
            for sink, (count, first) in sorted(dead.items())
        ]
