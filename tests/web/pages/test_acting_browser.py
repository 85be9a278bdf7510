"""Acts in a real browser: a pause with its reason, a cancel, a backfill shown first, many jobs at once."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.harness.browser import PHONE, Scheme
from tests.web.pages.conftest import OpenTab

_CHECK = "Show what it would do"
FORMS = (
    "/jobs/well/pause",
    "/jobs/well/trigger",
    "/jobs/failing/backfill",
    "/jobs/failing/set-watermark",
    "/jobs/failing/rollback-config",
    "/runs/running/cancel",
    "/acts/pause/jobs?text=tenant-02",
    "/dead-letters/letter-2/drop",
    "/acts/replay/dead-letters?sink=warehouse",
)


@pytest.fixture
def operator(acting_tab: OpenTab) -> Page:
    """The page of one who may act."""
    return acting_tab().page


def _fill(page: Page, path: str) -> None:
    """What the form at `path` needs, once it is there: its button stands behind its fields."""
    expect(page.get_by_role("button", name=_CHECK)).to_be_visible()
    for label in ("From (UTC)", "Window begins (UTC)", "Watermark (UTC)"):
        if page.get_by_label(label).count():
            page.get_by_label(label).fill("2026-01-08T00:00:00")
    if "backfill" in path:
        page.get_by_label("To (UTC)").fill("2026-01-09T00:30:00")


def test_a_schedule_is_paused_with_a_reason_and_resumed_again(operator: Page) -> None:
    operator.goto("/jobs/well")
    operator.get_by_role("link", name="Pause").click()
    operator.get_by_label("Reason").fill("the source is down")
    operator.get_by_label("Until (UTC)").fill("2099-01-08T06:00:00")
    operator.get_by_role("button", name=_CHECK).click()
    effect = operator.get_by_role("region", name="What it would do")
    expect(effect).to_contain_text("No due time fires until 2099-01-08 06:00:00 UTC")
    line = "piko pause well --until 2099-01-08T06:00:00Z --reason 'the source is down'"
    expect(effect).to_contain_text(line)
    effect.get_by_role("button", name="Pause").click()
    expect(operator.get_by_role("status")).to_have_text("Paused.")
    expect(operator.get_by_role("heading", level=1)).to_contain_text("Paused")
    operator.get_by_role("link", name="Resume").click()
    operator.get_by_role("button", name=_CHECK).click()
    operator.get_by_role("button", name="Resume", exact=True).click()
    expect(operator.get_by_role("status")).to_have_text("Resumed.")


def test_refused_records_are_replayed_one_by_one_and_together(operator: Page) -> None:
    operator.goto("/")
    operator.get_by_role("link", name="2 Dead letters").click()
    rows = operator.get_by_role("group", name="Dead letters").get_by_role("row")
    expect(rows).to_have_count(4)
    operator.get_by_role("link", name=re.compile("^Replay customer 1")).click()
    operator.get_by_label("Reason").fill("the table is back")
    operator.get_by_role("button", name=_CHECK).click()
    effect = operator.get_by_role("region", name="What it would do")
    expect(effect).to_contain_text("piko spool replay letter-1 --reason 'the table is back'")
    effect.get_by_role("button", name="Replay").click()
    expect(operator.get_by_role("status").first).to_contain_text("Asked for.")
    expect(rows.filter(has_text="customer 1")).to_contain_text("Replay asked")
    operator.get_by_role("link", name="Replay them all").click()
    operator.get_by_role("button", name=_CHECK).click()
    expect(effect).to_contain_text("piko spool replay --run failed-03")
    expect(effect).to_contain_text("its replica ended has ended")
    effect.get_by_role("button", name="Replay").click()
    expect(operator.get_by_role("region", name="Done")).to_contain_text("3")


def test_a_backfill_shows_its_windows_before_it_is_asked_for(operator: Page) -> None:
    operator.goto("/jobs/failing")
    operator.get_by_role("link", name="Back fill").click()
    _fill(operator, "backfill")
    operator.get_by_role("button", name=_CHECK).click()
    effect = operator.get_by_role("region", name="What it would do")
    expect(effect).to_contain_text("24 windows from 2026-01-08 00:00:00 UTC")
    expect(effect).to_contain_text("Left out, as it is no whole window")
    operator.goto("/backfills")
    expect(operator.get_by_role("rowheader")).to_have_count(1)


def test_a_run_is_cancelled_by_keys_alone(operator: Page) -> None:
    operator.goto("/runs/running")
    for name, then in (
        ("Cancel", operator.get_by_role("button", name=_CHECK)),
        (_CHECK, operator.get_by_role("region", name="What it would do")),
        ("Cancel", operator.get_by_role("status")),
    ):
        for _ in range(30):
            operator.keyboard.press("Tab")
            if operator.evaluate("document.activeElement.textContent").strip() == name:
                break
        operator.keyboard.press("Enter")
        expect(then).to_be_visible()
    expect(operator.get_by_role("status")).to_contain_text("Cancelled.")
    expect(operator.get_by_text("cancelled by ann").first).to_be_visible()


def test_two_hundred_jobs_are_paused_at_once_after_they_were_counted(operator: Page) -> None:
    operator.goto("/acts/pause/jobs?text=tenant-01")
    operator.get_by_role("button", name=_CHECK).click()
    expect(operator.get_by_text("100 jobs would be paused.")).to_be_visible()
    operator.goto("/jobs?text=tenant-0")
    operator.get_by_role("link", name=re.compile("Pause all 300")).click()
    operator.get_by_label("Reason").fill("the warehouse moves")
    operator.get_by_role("button", name=_CHECK).click()
    expect(operator.get_by_text("300 jobs would be paused.")).to_be_visible()
    operator.get_by_role("button", name="Pause", exact=True).click()
    expect(operator.get_by_text("300 jobs were paused.")).to_be_visible()
    operator.goto("/jobs?text=tenant-02&enabled=false")
    expect(operator.get_by_role("status")).to_contain_text("100 jobs match")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_a_form_and_on_what_it_would_do(acting_tab: OpenTab, scheme: Scheme) -> None:
    opened, found = acting_tab(scheme=scheme, inspected=True), {}
    for path in FORMS:
        opened.page.goto(path)
        if violations := opened.violations():
            found[path] = violations
        _fill(opened.page, path)
        opened.page.get_by_role("button", name=_CHECK).click()
        expect(opened.page.get_by_role("heading", name=re.compile("would do|Nothing"))).to_be_visible()
        if violations := opened.violations():
            found[f"{path}, checked"] = violations
    assert not found


def test_a_phone_shows_each_form_without_scrolling_sideways(acting_tab: OpenTab) -> None:
    opened = acting_tab(size=PHONE)
    for path in FORMS:
        opened.page.goto(path)
        assert opened.width_beyond() <= 0, path
        _fill(opened.page, path)
        opened.page.get_by_role("button", name=_CHECK).click()
        expect(opened.page.get_by_role("heading", name=re.compile("would do|Nothing"))).to_be_visible()
        assert opened.width_beyond() <= 0, path


def test_an_act_works_without_scripts(acting_tab: OpenTab) -> None:
    page = acting_tab(scripts=False).page
    page.goto("/jobs/well/pause")
    page.get_by_role("button", name=_CHECK).click()
    page.get_by_role("button", name="Pause", exact=True).click()
    expect(page.get_by_role("status")).to_have_text("Paused.")


def test_who_reads_only_sees_why_instead_of_a_form(tab: OpenTab) -> None:
    page = tab().page
    page.goto("/jobs/well/pause")
    expect(page.get_by_role("region", name="You may not act here")).to_contain_text("read-only")
    expect(page.get_by_role("button")).to_have_count(0)
    expect(page.get_by_text("piko pause well")).to_be_visible()
