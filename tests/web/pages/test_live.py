"""An open page renews itself when what it shows changes, and follows nothing while it is out of sight."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from piko.store.schema.migrate import upgrade
from piko.web import event_feed, log_feed
from tests.harness.browser import Tab
from tests.harness.databases import TestDatabase, sqlite_database
from tests.web.pages.conftest import serving_site
from tests.web.rows import add_jobs, add_runs, add_states
from tests.web.test_events import end_run
from tests.web.test_run_logs import say


def done(work: Coroutine[Any, Any, object]) -> None:
    """Do `work` in a thread: the browser has an event loop in this one."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TestDatabase:
    monkeypatch.setattr(event_feed, "LOOK_S", 0.1)
    made = sqlite_database(tmp_path)
    done(upgrade(made.dsn))
    done(add_jobs(made, "orders"))
    return made


def test_an_open_page_shows_a_failure_without_being_asked(browser: Browser, database: TestDatabase) -> None:
    with serving_site(database.dsn) as origin:
        tab = Tab(browser, origin)
        try:
            with tab.page.expect_request("**/api/v1/events"):
                tab.page.goto("/")
            expect(tab.page.get_by_role("main")).not_to_contain_text("orders")
            done(add_states(database, {"orders": ("Scheduled", None, 3)}))
            needs = tab.page.get_by_role("region", name="Needs attention")
            expect(needs).to_contain_text("orders")
            assert tab.complaints == []
        finally:
            tab.close()


def test_who_goes_by_keys_stays_where_they_are_while_a_page_renews_itself(
    browser: Browser, database: TestDatabase
) -> None:
    done(add_states(database, {"orders": ("Scheduled", None, 3)}))
    with serving_site(database.dsn) as origin:
        tab = Tab(browser, origin)
        try:
            tab.page.goto("/")
            failing = tab.page.get_by_role("link", name="orders", exact=True)
            failing.focus()
            done(add_jobs(database, "billing"))
            done(add_states(database, {"billing": ("Scheduled", None, 5)}))
            expect(tab.page.get_by_role("region", name="Needs attention")).to_contain_text("billing")
            expect(failing).to_be_focused()
            assert tab.complaints == []
        finally:
            tab.close()


def test_the_log_of_a_run_grows_on_its_page_until_the_run_has_ended(
    browser: Browser, database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_feed, "LOOK_S", 0.1)
    done(add_runs(database, "orders", ["RUNNING"]))
    done(say(database, "reading <b>orders</b>"))
    with serving_site(database.dsn) as origin:
        tab = Tab(browser, origin)
        try:
            tab.page.goto("/runs/run-000")
            log = tab.page.get_by_role("group", name="Log")
            expect(log).to_have_text("reading <b>orders</b>\n")
            done(say(database, "reading <b>orders</b>", "written", done=10))
            expect(log).to_have_text("reading <b>orders</b>\nwritten\n")
            expect(tab.page.get_by_text("10 of 10")).to_be_visible()
            done(end_run(database, "run-000"))
            expect(tab.page.get_by_role("region", name="What it did")).to_contain_text("rows")
            assert tab.complaints == []
        finally:
            tab.close()
