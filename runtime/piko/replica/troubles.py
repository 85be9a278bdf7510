"""What only this replica knows of its troubles, for its row in the database.

Others see what a replica writes; that it is not ready, that a sink of its takes nothing or has refused
records, or that a handler has blocked its event loop is known nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from piko.clock import Clock
from piko.errors import SpoolError
from piko.model.instances import Instance
from piko.model.sinks import SinkState
from piko.model.troubles import ReportedTrouble
from piko.observability.watchdog import Watchdog
from piko.persistence.writer import PersistenceWriter
from piko.replica.readiness import Readiness
from piko.text import counted

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
        self.sinks: Sequence[SinkState] = ()
        """How the sinks were at the last look."""

    def watch(self, readiness: Callable[[], Readiness]) -> None:
        """Ask `readiness` too, which the replica knows once it is whole."""
        self._readiness = readiness

    async def look(self) -> list[ReportedTrouble]:
        """The troubles of now. Never raises because of one of them."""
        now = self._clock.now()
        said = [*self._of_event_loop(now), *await self._of_sinks()]
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

    async def _of_sinks(self) -> list[Said]:
        try:
            self.sinks = await self._writer.sink_states()
        except SpoolError as error:
            return [("spool", f"replica {self._instance.host}", str(error), None)]
        stuck: list[Said] = [
            ("sink_stuck", f"sink {state.sink}", f"it takes nothing: {state.error}", state.failing_since)
            for state in self.sinks
            if state.error is not None
        ]
        refused: list[Said] = [
            (
                "dead_letters",
                f"sink {state.sink}",
                f"it refused {counted(state.dead_letters, 'record')}",
                state.first_died_at,
            )
            for state in self.sinks
            if state.dead_letters
        ]
        return stuck + refused
