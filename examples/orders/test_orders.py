"""Tests of the shop's jobs, without a server: `pytest examples/orders`."""

from __future__ import annotations

from pathlib import Path

import pytest

import warehouse
from app import app
from piko.testing import Timeline, run_job

WINDOW = "2026-03-01T00:00Z/2026-03-01T01:00Z"


@pytest.fixture(autouse=True)
def own_warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warehouse, "FILE", tmp_path / "warehouse.db")


def test_a_window_may_be_done_twice() -> None:
    once, again = run_job(app, "sync_orders", window=WINDOW), run_job(app, "sync_orders", window=WINDOW)
    assert once.succeeded, once.error
    assert once.result == again.result


def test_revenue_is_reported() -> None:
    run_job(app, "sync_orders", window=WINDOW)
    assert run_job(app, "revenue_report", config={"top": 1}).succeeded


def test_a_database_that_is_away_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warehouse, "FILE", "/nowhere/warehouse.db")
    assert run_job(app, "sync_orders", window=WINDOW).error_type == "ResourceError"


def test_what_was_missed_is_caught_up() -> None:
    timeline = Timeline(app, Path(__file__).parent / "schedules.yaml", start="2026-03-01T00:00Z")
    timeline.set_watermark("sync_orders", "2026-02-28T23:50Z")
    timeline.advance(minutes=1)
    assert timeline.watermark("sync_orders") == timeline.now
