"""What code prints is an event where logs are JSON, and stays as it is otherwise."""

from __future__ import annotations

import io
import json
import sys
import threading
import traceback
from typing import Any

import pytest

from piko.observability.bindings import of_run
from piko.observability.logs import LINE, Logging
from piko.observability.printed import PrintedLines, prints_as_events
from piko.observability.run_log import RunLog

JSON = Logging(as_json=True, debug=False)


def events(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.fixture
def beneath() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def printed(beneath: io.StringIO) -> PrintedLines:
    return PrintedLines(beneath, logger="stdout", level="info")


def test_a_printed_line_is_an_event_that_carries_its_run(beneath: io.StringIO, printed: PrintedLines) -> None:
    with of_run(job_id="sync", run_id="r1", attempt=2):
        print("read", 3, "rows", file=printed)
    print("outside of a run", file=printed)
    first, second = events(beneath)
    assert first.pop("timestamp").endswith("Z")
    assert first == {
        "event": "read 3 rows",
        "job_id": "sync",
        "run_id": "r1",
        "attempt": 2,
        "level": "info",
        "logger": "stdout",
    }
    assert "run_id" not in second


def test_each_line_is_an_event_and_empty_ones_are_none(beneath: io.StringIO, printed: PrintedLines) -> None:
    print("one\ntwo\r\n\n  \nthree", file=printed)
    assert [event["event"] for event in events(beneath)] == ["one", "two", "three"]


def test_a_line_that_one_run_begins_is_not_finished_by_another(
    beneath: io.StringIO, printed: PrintedLines
) -> None:
    with of_run(job_id="a", run_id="r1", attempt=1):
        print("begun", end="", file=printed)
    with of_run(job_id="b", run_id="r2", attempt=1):
        print("whole", file=printed)
    reported = [(event["event"], event["job_id"]) for event in events(beneath)]
    assert reported == [("begun", "a"), ("whole", "b")]


def test_threads_print_side_by_side(beneath: io.StringIO, printed: PrintedLines) -> None:
    def speak(number: int) -> None:
        for _ in range(50):
            print("thread", number, "says", "all of it", file=printed)

    threads = [threading.Thread(target=speak, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted({event["event"] for event in events(beneath)}) == [
        f"thread {number} says all of it" for number in range(8)
    ]


def test_what_has_no_end_is_reported_at_the_end_and_bounded(
    beneath: io.StringIO, printed: PrintedLines
) -> None:
    printed.write("x" * 100_000)
    printed.write("rest")
    assert len(events(beneath)) == 1
    assert len(beneath.getvalue()) <= LINE + 1
    printed.finish()
    assert events(beneath)[1]["event"] == "rest"


def test_a_printed_traceback_stays_within_the_stream_of_json(
    beneath: io.StringIO, printed: PrintedLines
) -> None:
    try:
        raise KeyError("customer_id")
    except KeyError:
        traceback.print_exc(file=printed)
    reported = [event["event"] for event in events(beneath)]
    assert reported[0].startswith("Traceback")
    assert reported[-1] == "KeyError: 'customer_id'"


def test_streams_are_taken_and_given_back(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr
    with prints_as_events(JSON):
        print("to stdout")
        print("to stderr", file=sys.stderr)
        print("has no end", end="")
    assert (sys.stdout, sys.stderr) == before
    out, err = capsys.readouterr()
    assert [json.loads(line)["event"] for line in out.splitlines()] == ["to stdout", "has no end"]
    (event,) = map(json.loads, err.splitlines())
    assert (event["event"], event["level"], event["logger"]) == ("to stderr", "warning", "stderr")


def test_where_logs_are_text_what_is_printed_appears_unchanged(capsys: pytest.CaptureFixture[str]) -> None:
    with prints_as_events(Logging(as_json=False, debug=False)):
        print("as it is")
        print("has no end", end="")
    assert capsys.readouterr().out == "as it is\nhas no end"


@pytest.mark.parametrize("as_json", [True, False])
def test_what_a_run_prints_is_in_its_log(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    kept = RunLog(job_id="sync", run_id="r1", changed=lambda _: None)
    with prints_as_events(Logging(as_json=as_json, debug=False)):
        print("before")
        with of_run(job_id="sync", run_id="r1", attempt=1, log=kept):
            print("in", "parts", end="")
            print(" and whole")
        print("after")
    lines = kept.settle()
    assert lines is not None
    assert lines.head.endswith("print    in parts and whole")
    assert lines.lines == 1
    assert "before" in capsys.readouterr().out


def test_it_is_a_text_stream_like_another(capfd: pytest.CaptureFixture[str]) -> None:
    descriptor = sys.stdout.fileno()
    with prints_as_events(JSON):
        assert sys.stdout.fileno() == descriptor
        assert sys.stdout.encoding
        assert sys.stdout.writable()
        assert not sys.stdout.isatty()
        sys.stdout.buffer.write(b"bytes pass\n")
        sys.stdout.flush()
        with pytest.raises(TypeError, match="not bytes"):
            sys.stdout.write(b"no text")  # type: ignore[arg-type]
    assert capfd.readouterr().out == "bytes pass\n"
