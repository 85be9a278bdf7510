"""The page in a real browser, as the person on call has it before them."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.harness.browser import PHONE, Scheme
from tests.web.pages.conftest import OpenTab

EVERY_PAGE = (
    "/",
    "/jobs",
    "/jobs/failing",
    "/runs",
    "/runs/failed-03",
    "/backfills",
    "/backfills/backfill-1",
    "/replicas",
    "/sinks",
    "/dead-letters",
    "/dead-letters?sink=warehouse",
    "/jobs/failing/why",
    "/jobs/nobody",
)


def test_the_first_sight_shows_who_leads_what_is_late_and_what_fails_with_its_error(tab: OpenTab) -> None:
    page = tab().page
    page.goto("/")
    parts = page.get_by_role("list", name="Installation")
    expect(parts.get_by_text("warehouse-0")).to_be_visible()
    expect(parts.get_by_text("epoch 17")).to_be_visible()
    expect(page.get_by_role("link", name="1 Late")).to_be_visible()
    needs = page.get_by_role("region", name="Needs attention").get_by_role("listitem")
    expect(needs.filter(has_text="has not started")).to_contain_text("What to do piko why late")
    expect(needs.filter(has_text="runs in a row failed")).to_contain_text("KeyError: 'customer_id'")
    expect(needs.filter(has_text="more than one window behind")).to_contain_text("Late data")
    page.get_by_role("link", name="1 Failing").click()
    expect(page.get_by_role("rowheader")).to_have_count(1)
    page.get_by_role("link", name="failing", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("failing")


def test_a_filter_renews_the_list_and_stands_in_the_address(tab: OpenTab) -> None:
    page = tab().page
    page.goto("/jobs")
    page.get_by_label("Id contains").press_sequentially("tenant-01")
    expect(page.get_by_role("status")).to_contain_text("100 jobs match")
    expect(page).to_have_url(re.compile(r"text=tenant-01"))
    expect(page.get_by_label("Id contains")).to_be_focused()
    page.get_by_role("link", name="Next page").click()
    expect(page.get_by_role("link", name="tenant-0199")).to_be_visible()
    page.reload()
    expect(page.get_by_role("link", name="tenant-0199")).to_be_visible()


def test_every_read_works_without_scripts(tab: OpenTab) -> None:
    page = tab(scripts=False).page
    for path in EVERY_PAGE:
        page.goto(path) if path != "/jobs/nobody" else None
        expect(page.get_by_role("heading", level=1)).to_have_count(1)
    page.goto("/jobs")
    page.get_by_label("Id contains").fill("tenant-0299")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_role("rowheader")).to_have_count(1)
    page.goto("/runs")
    page.get_by_label("State").select_option("Failed")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_role("link", name="failed-00")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_any_page(tab: OpenTab, scheme: Scheme) -> None:
    found = {}
    opened = tab(scheme=scheme, inspected=True)
    for path in EVERY_PAGE[:-1]:
        opened.page.goto(path)
        if violations := opened.violations():
            found[path] = violations
    assert not found


def test_a_phone_shows_each_page_without_scrolling_sideways(tab: OpenTab) -> None:
    opened = tab(size=PHONE)
    for path in EVERY_PAGE[:-1]:
        opened.page.goto(path)
        assert opened.width_beyond() <= 0, path


def test_who_goes_by_keys_stays_at_a_link_whose_address_the_navigation_has_too(tab: OpenTab) -> None:
    page = tab().page
    page.goto("/")
    jobs = page.get_by_role("main").get_by_role("link", name="306 Jobs")
    jobs.focus()
    page.evaluate(
        """() => new Promise((renewed) => {
          document.addEventListener("htmx:afterSettle", () => renewed(), {once: true});
          document.dispatchEvent(new Event("visibilitychange"));
        })"""
    )
    assert jobs.evaluate("(link) => link === document.activeElement")


def test_keys_alone_lead_past_the_navigation_to_what_needs_attention(tab: OpenTab) -> None:
    page = tab().page
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "failing":
            break
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/jobs/failing$"))
