"""What `piko dev` shows: lines of what happened, and on a terminal a table of how the jobs stand."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from piko.dev.journal import Entry, JobLine
from piko.dev.wall import WallClock

_TONES = {"SUCCESS": "green", "SKIPPED": "yellow", "MISSED": "yellow", "CANCELLED": "yellow"}


class Board:
    """Lines on `console`; where that is a terminal, the table stays below them."""

    def __init__(self, *, console: Console, wall: WallClock) -> None:
        self._console = console
        self._wall = wall
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
        now = f"{self._wall.now():%H:%M:%S}"
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
        table = Table(title=state, title_justify="left", title_style="dim", box=SIMPLE_HEAD)
        for name in ("job", "schedule", "now", "last run", "next run", "data up to"):
            table.add_column(name, overflow="fold")
        for line in lines:
            table.add_row(
                Text(line.job_id, style="bold"),
                Text(line.schedule),
                self._present(line),
                self._last(line),
                self._next(line),
                Text("" if line.watermark is None else self._wall.at(line.watermark)),
            )
        self._live.update(table, refresh=True)

    def _present(self, line: JobLine) -> Text:
        if line.running:
            return Text("running" if line.running == 1 else f"{line.running} running", style="cyan")
        bad = line.status in ("Invalid", "Unregistered", "WaitingForConfig")
        return Text(line.status, style="red" if bad else "dim")

    def _last(self, line: JobLine) -> Text:
        if line.last_state is None or line.last_started_at is None:
            return Text("")
        told = f"{line.last_state}, {self._wall.ago(line.last_started_at)}"
        return Text(told, style=_TONES.get(line.last_state, "red"))

    def _next(self, line: JobLine) -> Text:
        if line.next_run_at is None:
            return Text("")
        return Text(f"{self._wall.at(line.next_run_at)}, {self._wall.ahead(line.next_run_at)}")
