"""The two lines of each run: the same whichever way they take, and written in order."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from piko.observability.logs import configure_logging, get_logger
from piko.observability.run_lines import RunLines

NAME = "piko.trial.runs"
DUE = datetime(2026, 1, 8, 2, 30, tzinfo=UTC)


class Stream(io.StringIO):
    """Counts how often it is written to."""

    writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)


def to_json(stream: io.StringIO) -> None:
    """No handler but Piko's, as in a container: those of pytest look at records, too."""
    logging.getLogger().handlers.clear()
    configure_logging(log_format="json", stream=stream)


def events(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def say(log: RunLines, run_id: str = "r1", job_id: str = "sync") -> None:
    log.started(job_id=job_id, run_id=run_id, attempt=2, scheduled_time=DUE)
    log.ended(job_id=job_id, run_id=run_id, state="SUCCESS", attempt=2, duration_s=1.23456)


@pytest.mark.parametrize("job_id", ["sync", 'a"b\\c\n\u2028é'])
async def test_a_line_says_the_same_whether_others_look_at_records_or_not(job_id: str) -> None:
    stream = io.StringIO()
    to_json(stream)
    say(RunLines(NAME), job_id=job_id)
    await asyncio.sleep(0)
    watcher = logging.NullHandler()
    logging.getLogger("piko.trial").addHandler(watcher)
    try:
        say(RunLines(NAME), job_id=job_id)
    finally:
        logging.getLogger("piko.trial").removeHandler(watcher)
    fast, slow = stream.getvalue().splitlines()[:2], stream.getvalue().splitlines()[2:]
    for one, other in zip(fast, slow, strict=True):
        ours, theirs = json.loads(one), json.loads(other)
        assert list(ours) == list(theirs), "in one order"
        earlier, later = ours.pop("timestamp"), theirs.pop("timestamp")
        assert (len(earlier), later[-1]) == (len(later), earlier[-1]), "in one form"
        assert datetime.fromisoformat(earlier) <= datetime.fromisoformat(later)
        assert ours == theirs


async def test_the_runs_of_one_turn_of_the_loop_are_written_at_once() -> None:
    stream = Stream()
    to_json(stream)
    log = RunLines(NAME)
    for number in range(100):
        say(log, f"r{number}")
    assert stream.getvalue() == ""
    await asyncio.sleep(0)
    assert [event["run_id"] for event in events(stream)] == [f"r{n}" for n in range(100) for _ in range(2)]
    assert stream.writes == 1


async def test_what_a_handler_logs_stays_between_the_lines_of_its_run() -> None:
    stream = io.StringIO()
    to_json(stream)
    log = RunLines(NAME)
    log.started(job_id="sync", run_id="r1", attempt=1, scheduled_time=DUE)
    get_logger("jobs.sync").info("read")
    logging.getLogger("library").warning("slow")
    log.ended(job_id="sync", run_id="r1", state="SUCCESS", attempt=1, duration_s=0.1)
    await asyncio.sleep(0)
    assert [event["event"] for event in events(stream)] == ["run_started", "read", "slow", "run_finished"]


async def test_at_the_end_of_the_process_nothing_is_left_unwritten() -> None:
    stream = io.StringIO()
    to_json(stream)
    say(RunLines(NAME))
    for handler in logging.getLogger().handlers:
        handler.flush()  # as `logging.shutdown` does
    assert len(events(stream)) == 2


async def test_ends_can_be_silenced_alone() -> None:
    stream = io.StringIO()
    to_json(stream)
    logging.getLogger(f"{NAME}.ends").setLevel(logging.CRITICAL)
    say(RunLines(NAME))
    await asyncio.sleep(0)
    assert [event["event"] for event in events(stream)] == ["run_started"]


async def test_a_stream_that_is_closed_fails_no_run() -> None:
    stream = io.StringIO()
    to_json(stream)
    say(RunLines(NAME))
    stream.close()
    await asyncio.sleep(0)


async def test_a_test_that_captures_logs_sees_runs() -> None:
    to_json(io.StringIO())
    log = RunLines(NAME)
    with capture_logs() as captured:
        say(log)
    assert [event["event"] for event in captured] == ["run_started", "run_finished"]
