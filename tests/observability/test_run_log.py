"""The log of a run: its first and last lines, whatever logs them, and no secret in any."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Collection, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piko.observability import log_excerpt
from piko.observability.bindings import current_log, of_no_run, of_run
from piko.observability.line_text import readable
from piko.observability.log_excerpt import HEAD, TAIL, KeptLines
from piko.observability.logs import configure_logging, get_logger
from piko.observability.run_log import RunLog

STAMP = "2026-11-29T07:28:19.123456Z"


def made(**values: Any) -> RunLog:
    return RunLog(job_id="sync", run_id="r1", **{"changed": lambda _: None, **values})


def event(text: str, **facts: object) -> str:
    return json.dumps({"event": text, "level": "info", "timestamp": STAMP, "run_id": "r1", **facts})


def settled(log: RunLog) -> KeptLines:
    kept = log.settle()
    assert kept is not None
    return kept


def in_run(log: RunLog) -> Any:
    return of_run(job_id="sync", run_id="r1", attempt=1, log=log)


def numbers(text: str) -> list[int]:
    return [int(line.split()[-1]) for line in text.splitlines()]


# ---- what is kept ---------------------------------------------------------------------------------


def test_a_run_that_logs_nothing_has_no_log() -> None:
    assert made().settle() is None


def test_a_line_says_when_how_grave_what_and_with_which_facts() -> None:
    log = made()
    log.add(event("rows_read", rows=10, source="a b", attempt=1))
    log.add(event("failed", level="error", exception="Traceback\n  KeyError"))
    assert settled(log).head.splitlines() == [
        '2026-11-29 07:28:19.123Z info     rows_read rows=10 source="a b"',
        "2026-11-29 07:28:19.123Z error    failed",
        "  Traceback",
        "    KeyError",
    ]


def test_the_first_and_the_last_are_kept_and_the_rest_is_counted() -> None:
    log, many = made(), 5_000
    for number in range(many):
        log.add(event(f"line {number}"))
        if number % 100 == 0:
            log.settle()
    kept = settled(log)
    head, tail = numbers(kept.head), numbers(kept.tail)
    assert head == list(range(len(head)))
    assert tail == list(range(many - len(tail), many))
    assert (kept.lines, kept.left_out) == (many, many - len(head) - len(tail))
    assert HEAD - 100 < len(kept.head) <= HEAD
    assert TAIL - 100 < len(kept.tail) <= TAIL


@pytest.mark.parametrize("settled_after", [(), (9_999,), (10, 10_000, 19_990), (6_000, 6_001, 12_000)])
def test_what_comes_faster_than_it_is_settled_keeps_its_first_and_last_lines(
    settled_after: tuple[int, ...],
) -> None:
    log, many, text = made(), 20_000, "x" * 100
    for number in range(many):
        log.add(event(f"{text} {number}"))
        if number in settled_after:
            log.settle()
    kept = settled(log)
    head, tail = numbers(kept.head), numbers(kept.tail)
    assert head == list(range(len(head)))
    assert tail == list(range(many - len(tail), many))
    assert (kept.lines, kept.left_out) == (many, many - len(head) - len(tail))
    assert TAIL - 200 < len(kept.tail) <= TAIL


@pytest.mark.parametrize("length", [0, 100, 900, 7_000])
def test_what_is_put_aside_is_bounded_and_suffices_for_the_last_lines(length: int) -> None:
    log, other, text = made(), made(), "x" * length
    many = max(3_000_000 // (length + 100), 1_000)
    for number in range(many):
        log.add(event(f"{text} {number}"))
        other.add(event(f"{text} {number}"))
    aside = other.take()
    assert aside is not None
    assert sum(map(len, (*aside.first, *aside.last))) < 6 * (HEAD + TAIL)
    assert len(aside.first) + aside.left_out + len(aside.last) == many
    kept = settled(log)
    tail = numbers(kept.tail)
    assert tail == list(range(many - len(tail), many))
    assert len(kept.head) > HEAD - length - 100
    assert len(kept.tail) > TAIL - length - 100


def test_lines_that_are_left_out_are_not_made_readable(monkeypatch: pytest.MonkeyPatch) -> None:
    made_readable = 0

    def counted(lines: Sequence[str], secrets: Collection[str]) -> list[str]:
        nonlocal made_readable
        made_readable += len(lines)
        return readable(lines, secrets)

    monkeypatch.setattr(log_excerpt, "readable", counted)
    log, many, text = made(), 30_000, "x" * 900
    for number in range(many):
        log.add(event(f"{text} {number}"))
        if number % 10_000 == 0:
            log.settle()
    assert settled(log).lines == many
    assert made_readable < 400


@given(st.lists(st.one_of(st.text(max_size=3_000), st.just("é" * 9_000), st.none()), max_size=80))
def test_it_is_never_larger_than_promised(steps: list[str | None]) -> None:
    log, added = made(), 0
    for step in steps:
        if step is None:
            log.settle()
        else:
            log.add(event(step))
            added += 1
    kept = log.settle()
    if kept is None:
        assert added == 0
        return
    assert len(kept.head.encode()) <= HEAD
    assert len(kept.tail.encode()) <= TAIL
    assert kept.lines == added


def test_lines_after_the_end_of_the_run_are_ignored() -> None:
    log = made()
    log.add(event("in time"))
    log.close()
    log.add(event("too late"))
    log.advance(1)
    assert settled(log).lines == 1
    assert log.progress is None


def test_it_says_once_that_there_is_something_to_settle() -> None:
    told: list[RunLog] = []
    log = made(changed=told.append)
    log.add(event("one"))
    log.add(event("two"))
    log.advance(1, 2)
    assert told == [log]
    log.settle()
    log.add(event("three"))
    assert told == [log, log]


# ---- secrets --------------------------------------------------------------------------------------


def test_secrets_of_the_config_are_hidden() -> None:
    log = made()
    log.secrets = {"hunter2\nsecond line of it"}
    log.add(event("hunter2\nsecond line of it", url="x?p=hunter2%0Asecond%20line%20of%20it"))
    text = settled(log).head
    assert "hunter2" not in text
    assert "second line" not in text
    assert "***" in text


def test_half_of_a_secret_beside_a_cut_is_not_shown() -> None:
    log, secret = made(), "".join(f"s3cr3t{n}-" for n in range(10))
    log.secrets = {secret}
    stream = io.StringIO()
    configure_logging(log_format="json", stream=stream)
    with in_run(log):
        for padding in range(1_880, 2_020, 7):
            logging.getLogger("job").info("%s%s%s", "x" * padding, secret, "y" * 60_000)
    assert "s3cr3t" in stream.getvalue()
    kept = settled(log)
    assert "s3cr3t" not in kept.head + kept.tail, "half of it is there"


# ---- what arrives ---------------------------------------------------------------------------------


@pytest.mark.parametrize("log_format", ["json", "text"])
async def test_it_gets_what_every_kind_of_logger_writes(log_format: Any) -> None:
    stream = io.StringIO()
    configure_logging(log_format=log_format, stream=stream)
    log, standard, ours = made(), logging.getLogger("job"), get_logger("job")

    def in_a_thread() -> None:
        standard.warning("of a %s", "thread")

    async def in_a_task() -> None:
        ours.info("of_a_task", rows=3)

    standard.info("before")
    with in_run(log):
        standard.info("of the standard library", extra={"table": "orders"})
        ours.debug("too fine")
        standard.debug("too fine")
        await asyncio.create_task(in_a_task())
        await asyncio.to_thread(in_a_thread)
        try:
            raise KeyError("customer_id")
        except KeyError:
            standard.exception("it failed")
    ours.info("after")
    shown = settled(log).head
    lines = [line[25:] for line in shown.splitlines()]
    assert lines[:4] == [
        "info     of the standard library table=orders",
        "info     of_a_task rows=3",
        "warning  of a thread",
        "error    it failed",
    ]
    assert shown.endswith("KeyError: 'customer_id'")
    assert settled(log).lines == 4


def test_a_silenced_logger_is_silent_here_too() -> None:
    configure_logging(stream=io.StringIO())
    silenced = logging.getLogger("piko.silenced.here")
    silenced.setLevel(logging.ERROR)
    log = made()
    with in_run(log):
        get_logger("piko.silenced.here").info("not written")
        silenced.info("not written")
    assert log.settle() is None


def test_debug_lines_are_not_kept_even_if_they_are_written() -> None:
    stream = io.StringIO()
    configure_logging(debug=True, stream=stream)
    log = made()
    with in_run(log):
        get_logger("job").debug("fine")
        logging.getLogger("job").debug("fine")
    assert len(stream.getvalue().splitlines()) == 2
    assert log.settle() is None


def test_what_outlives_the_run_has_no_log() -> None:
    with in_run(made()):
        assert current_log() is not None
        assert of_no_run().run(current_log) is None
    assert current_log() is None


def test_what_another_process_logged_joins_with_its_gap() -> None:
    log, other = made(), made()
    for number in range(10_000):
        other.add(event(f"{'x' * 60} {number}"))
    aside = other.take()
    assert aside is not None
    assert aside.left_out
    log.add(event("of this process 0"))
    log.absorb(aside)
    log.add(event("of this process 1"))
    kept = settled(log)
    assert kept.head.startswith("2026-11-29 07:28:19.123Z info     of this process 0")
    assert kept.tail.endswith("of this process 1")
    assert kept.lines == 10_002
    shown = len(kept.head.splitlines()) + len(kept.tail.splitlines())
    assert kept.left_out == 10_002 - shown
