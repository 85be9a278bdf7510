"""What `piko dev` shows: lines of what happened, and on a terminal a table of how the jobs stand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, tzinfo
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from piko.clock import Clock
from piko.dev.journal import Entry, JobLine, at

_TONES = {"SUCCESS": "green", "SKIPPED": "yellow", "MISSED": "yellow", "CANCELLED": "yellow"}


class Board:
    """Lines on `console`; where that is a terminal, the table stays below them."""

    def __init__(self, *, console: Console, clock: Clock, zone: tzinfo) -> None:
        self._console = console
        self._clock = clock
        self._zone = zone
        self._live: Live | None = None

    def __enter__(self) -> Board:
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def say(self, text: str, *, tone: str = "") -> None:
        """A line, or several."""
        self._console.print(Text(text, style=tone), soft_wrap=True)

    def tell(self, entry: Entry) -> None:
        """An entry of the journal, with the time."""
        now = at(self._clock.now().replace(microsecond=0), self._zone)
        line = Text.assemble(
            (now, "dim"), "  ", (f"{entry.subject:<16}", "bold"), "  ", (entry.text, entry.tone)
        )
        self._console.print(line, soft_wrap=True)
        for detail in (entry.details or "").splitlines():
            self._console.print(Text(f"    {detail}", style="dim"), soft_wrap=True)

    def show(self, lines: Sequence[JobLine], *, state: str) -> None:
        """Renew the table; nothing where there is none."""
        if self._live is None:
            return
        now = self._clock.now()
        table = Table(title=state, title_justify="left", title_style="dim", expand=False)
        for name in ("job", "schedule", "now", "last run", "next run", "data up to"):
            table.add_column(name, overflow="fold")
        for line in lines:
            table.add_row(
                Text(line.job_id, style="bold"),
                Text(line.schedule),
                self._present(line),
                self._last(line, now),
                self._next(line, now),
                Text("" if line.watermark is None else at(line.watermark, self._zone)),
            )
        self._live.update(table, refresh=True)

    def _present(self, line: JobLine) -> Text:
        if line.running:
            return Text("running" if line.running == 1 else f"{line.running} running", style="cyan")
        bad = line.status in ("Invalid", "Unregistered")
        return Text(line.status, style="red" if bad else "dim")

    def _last(self, line: JobLine, now: datetime) -> Text:
        if line.last_state is None or line.last_started_at is None:
            return Text("")
        ago = max((now - line.last_started_at).total_seconds(), 0)
        return Text(f"{line.last_state}, {_span(ago)} ago", style=_TONES.get(line.last_state, "red"))

    def _next(self, line: JobLine, now: datetime) -> Text:
        if line.next_run_at is None:
            return Text("")
        ahead = (line.next_run_at - now).total_seconds()
        return Text(f"{at(line.next_run_at, self._zone)}, {f'in {_span(ahead)}' if ahead > 0 else 'due'}")


def _span(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
