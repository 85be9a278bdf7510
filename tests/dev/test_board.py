"""What `piko dev` shows can be read at any width of a terminal, and through a pipe."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from rich.console import Console

from piko.clock import SystemClock
from piko.dev.board import Board
from piko.dev.journal import Entry, JobLine
from piko.dev.wall import WallClock

LONG = "load.customers-" * 8 + "12345678"
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class StoppedClock(SystemClock):
    """Stands still."""

    def now(self) -> datetime:
        return datetime(2026, 1, 8, 10, 0, tzinfo=UTC)


def _line(clock: StoppedClock, job_id: str, **more: object) -> JobLine:
    facts: dict[str, object] = {
        "schedule": "cron hour 3 minute 30 day_of_week mon-fri",
        "status": "Scheduled",
        "running": 0,
        "last_state": "SUCCESS",
        "last_started_at": clock.now() - timedelta(minutes=3),
        "last_duration_s": 0.1,
        "next_run_at": clock.now() + timedelta(seconds=12),
        "watermark": clock.now() - timedelta(minutes=3),
    }
    return JobLine(job_id=job_id, **{**facts, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_table_fits_a_terminal_and_holds_every_name(width: int) -> None:
    clock, file = StoppedClock(), io.StringIO()
    console = Console(file=file, width=width, height=50, force_terminal=True, highlight=False)
    with Board(console=console, wall=WallClock(clock=clock, zone=UTC)) as board:
        failed = _line(
            clock, "b", status="WaitingForConfig", last_state="FAILED", message="give it\x1b[2J one"
        )
        board.show([_line(clock, "a"), failed, _line(clock, LONG, running=2)], state="trial: Ctrl-C stops")
    shown = [line.rstrip() for line in re.split(r"[\r\n]", _CONTROL.sub("", file.getvalue()))]
    assert LONG in "".join(shown), "at 80 columns the terminal breaks it, nothing cuts it"
    assert [line for line in shown if len(line) > width] == []
    text = "\n".join(shown)
    assert re.search(r"^a +Scheduled +SUCCESS 3m ago +in 12s ", text, re.MULTILINE)
    assert re.search(r"^b +WaitingForConfig +FAILED 3m ago +in 12s ", text, re.MULTILINE)
    assert "  give it [2J one" in text
    assert "2 running" in text


@pytest.mark.parametrize(
    ("reader", "said", "watermark"),
    [
        ("Asia/Shanghai", "18:00:00 (05:00:00 America/New_York)", "17:57:00"),
        ("America/New_York", "05:00:00", "04:57:00"),
    ],
)
@pytest.mark.parametrize("width", [80, 200])
def test_times_are_in_the_readers_zone_and_due_times_in_that_of_their_schedule_too(
    width: int, reader: str, said: str, watermark: str
) -> None:
    clock, file = StoppedClock(), io.StringIO()
    wall = WallClock(clock=clock, zone=ZoneInfo(reader))
    assert (wall.due(clock.now(), ZoneInfo("America/New_York")), wall.zone_name) == (said, reader)
    assert wall.due(clock.now(), None) == said.partition(" ")[0]
    console = Console(file=file, width=width, force_terminal=True, highlight=False)
    with Board(console=console, wall=wall) as board:
        board.show_entry(Entry(subject="a", text="SUCCESS"))
        board.show([_line(clock, "a")], state="trial")
    lines = [line.rstrip() for line in re.split(r"[\r\n]", _CONTROL.sub("", file.getvalue()))]
    assert f"{said.partition(' ')[0]}  a                 SUCCESS" in lines
    (row,) = {line for line in lines if line.startswith("a ")}
    assert f" {watermark} " in row
    assert len(row) <= width


def test_the_zone_of_a_machine_without_tz_has_its_abbreviation() -> None:
    wall = WallClock(clock=StoppedClock(), zone=timezone(timedelta(hours=8), "CST"))
    assert wall.zone_name == "CST"


def test_an_empty_folder_has_a_board_too() -> None:
    file = io.StringIO()
    console = Console(file=file, width=80, force_terminal=True)
    with Board(console=console, wall=WallClock(clock=StoppedClock(), zone=UTC)) as board:
        board.show([], state="trial")
    assert "JOB" in file.getvalue()


def test_a_pipe_gets_whole_lines_without_control_characters() -> None:
    clock, file = StoppedClock(), io.StringIO()
    with Board(console=Console(file=file, width=80), wall=WallClock(clock=clock, zone=UTC)) as board:
        board.print("piko dev:\nready\x07")
        failed = Entry(subject=LONG, text="FAILED \x1b[31m" + "x" * 200, details="Trace\x00back\n    at y")
        board.show_entry(failed)
        board.show([_line(clock, "a")], state="trial")
    lines = file.getvalue().splitlines()
    assert lines[:2] == ["piko dev:", "ready"]
    assert lines[2].endswith(f"{LONG}  FAILED  [31m" + "x" * 200)
    assert lines[3:] == ["    Trace back", "        at y"]
