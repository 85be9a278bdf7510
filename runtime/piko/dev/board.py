"""The output of `piko dev`: lines for events, and on a terminal a table with the state of the jobs."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from piko.dev.journal import Entry, JobLine
from piko.dev.wall import WallClock
from piko.tables import Row, ago, shown, table_lines

_COLUMNS = ("JOB", "NOW", "LAST", "NEXT", "WATERMARK", "SCHEDULE")
_TONES = {
    "SUCCESS": "green",
    "SKIPPED|MISSED|CANCELLED": "yellow",
    "FAILED|TIMEOUT|LOST|Invalid|Unregistered|WaitingForConfig": "red",
    r"(\d+ )?running": "cyan",
}


class Board:
    """Prints lines on `console`; on a terminal, the table stays below them."""

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

    def print(self, text: str, *, tone: str = "") -> None:
        """Print one or more lines."""
        for line in text.splitlines():
            self._console.print(Text(shown(line), style=tone), soft_wrap=True)

    def show_entry(self, entry: Entry) -> None:
        """Print an entry of the journal, with the time."""
        now = f"{self._wall.now():%H:%M:%S}"
        line = Text.assemble(
            (now, "dim"), "  ", (f"{entry.subject:<16}", "bold"), "  ", (shown(entry.text), entry.tone)
        )
        self._console.print(line, soft_wrap=True)
        for detail in (entry.details or "").splitlines():
            self._console.print(Text(f"    {shown(detail, indented=True)}", style="dim"), soft_wrap=True)

    def show(self, lines: Sequence[JobLine], *, state: str) -> None:
        """Update the table, if there is one."""
        if self._live is None:
            return
        width = self._console.width
        rows = [Row(cells=self._cells(line), notes=[line.message] if line.message else []) for line in lines]
        table = Text(overflow="fold")
        table.append(f"{shown(state)}\n", style="dim")
        for line in table_lines(_COLUMNS, rows, shorten=["SCHEDULE"], width=width):
            table.append(f"\n{line}")
        for pattern, tone in _TONES.items():
            table.highlight_regex(rf"(?<=  ){pattern}\b", tone)
        self._live.update(table, refresh=True)

    def _cells(self, line: JobLine) -> list[object]:
        now = self._wall.now()
        running = "running" if line.running == 1 else f"{line.running} running"
        last = f"{line.last_state} {ago(line.last_started_at, now)}" if line.last_started_at else ""
        due = line.next_run_at is not None and line.next_run_at <= now
        return [
            line.job_id,
            running if line.running else line.status,
            last,
            "due" if due else ago(line.next_run_at, now),
            "" if line.watermark is None else self._wall.at(line.watermark),
            line.schedule,
        ]
