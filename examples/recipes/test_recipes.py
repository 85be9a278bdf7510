"""Tests of the recipes, without a server: `pytest examples/recipes`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from app import PAGES, Price, Refund, app
from piko.testing import Timeline, run_job

SCHEDULES = Path(__file__).parent / "schedules.yaml"


def test_every_page_is_fetched_and_written() -> None:
    run = run_job(app, "fetch_pages", config={"at_once": 2})
    assert run.succeeded, run.error
    assert len(run.payloads("pages")) == len(PAGES)


def test_pages_are_compared() -> None:
    assert run_job(app, "compare_pages").succeeded


def test_late_pages_are_refunded() -> None:
    written = run_job(app, "work_through").payloads("ledger")
    assert [item.page for item in written if isinstance(item, Refund)] == [9, 19]
    assert all(isinstance(item, Price) for item in written)


def test_pages_are_checked_in_worker_processes() -> None:
    assert run_job(app, "check_pages").succeeded


def test_books_are_closed_for_a_window() -> None:
    run = run_job(app, "close_the_books", window="2026-03-01T00:00Z/2026-03-01T00:01Z")
    assert run.succeeded, run.error


def test_a_window_that_fails_is_tried_again_before_the_next_one() -> None:
    timeline = Timeline(app, SCHEDULES, start="2026-03-01T00:00Z")
    timeline.fail("close_the_books", times=2)
    timeline.advance(hours=1)
    assert [run.attempt for run in timeline.runs("close_the_books")][:3] == [1, 2, 3]
    assert timeline.watermark("close_the_books") == datetime(2026, 3, 1, 1, tzinfo=UTC)


def test_the_opening_day_comes_once() -> None:
    assert run_job(app, "opening_day").succeeded
