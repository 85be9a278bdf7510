"""Signing in and out in a real browser, with a token of Piko's own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.harness.browser import PHONE, Scheme, Tab
from tests.web.pages.conftest import OpenTab, opening, served

_REFUSED = "the server responded with a status of 401"


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    """Tokens of ann, who reads, and of bob, who acts."""
    folder = tmp_path / "tokens"
    folder.mkdir()
    for role, name in (("viewer", "ann"), ("operator", "bob")):
        digest = hashlib.sha256(f"{name}-token".encode()).hexdigest()
        (folder / role).write_text(f"{name} {digest}\n")
    return folder


@pytest.fixture
def closed_site(tmp_path: Path, tokens: Path) -> Iterator[str]:
    """The origin of a site that asks for a token."""
    with served(tmp_path, access="token", tokens_dir=tokens) as origin:
        yield origin


@pytest.fixture
def closed_tab(closed_site: str, browser: Browser) -> Iterator[OpenTab]:
    """Opens tabs of `closed_site`; a browser notes each 401 in its console."""
    with opening(browser, closed_site, expected=_REFUSED) as open_tab:
        yield open_tab


def _sign_in(opened: Tab, token: str) -> None:
    opened.page.get_by_label("Token").fill(token)
    opened.page.get_by_role("button", name="Sign in").click()


@pytest.mark.parametrize("scripts", [True, False])
def test_a_person_signs_in_comes_to_the_page_that_they_asked_for_and_signs_out(
    closed_tab: OpenTab, scripts: bool
) -> None:
    opened = closed_tab(scripts=scripts)
    page = opened.page
    page.goto("/jobs/failing")
    _sign_in(opened, "guess")
    expect(page.get_by_role("alert")).to_contain_text("The token is not known")
    _sign_in(opened, "bob-token")
    expect(page).to_have_url(re.compile(r"/jobs/failing$"))
    expect(page.get_by_role("banner")).to_contain_text("bob, operator")
    expect(page.get_by_role("link", name="Pause")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto("/jobs")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_viewer_has_no_buttons_and_is_shown_the_form_once_their_token_is_revoked(
    closed_tab: OpenTab, tokens: Path
) -> None:
    opened = closed_tab(scripts=False)  # else it may renew itself before the click
    opened.page.goto("/jobs/well")
    _sign_in(opened, "ann-token")
    expect(opened.page.get_by_role("banner")).to_contain_text("ann, viewer")
    expect(opened.page.get_by_role("link", name="Pause")).to_have_count(0)
    (tokens / "viewer").write_text("")
    opened.page.get_by_role("link", name="Overview", exact=True).click()
    expect(opened.page.get_by_role("alert")).to_contain_text("was revoked")


def test_an_open_page_becomes_the_form_once_its_token_is_revoked(closed_tab: OpenTab, tokens: Path) -> None:
    opened = closed_tab()
    opened.page.goto("/jobs/well")
    _sign_in(opened, "ann-token")
    expect(opened.page.get_by_role("banner")).to_contain_text("ann, viewer")
    (tokens / "viewer").write_text("")
    opened.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # it is in sight again
    expect(opened.page.get_by_role("alert")).to_contain_text("was revoked")
    expect(opened.page).to_have_url(re.compile(r"/jobs/well$"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_the_form(closed_tab: OpenTab, scheme: Scheme) -> None:
    opened = closed_tab(scheme=scheme, inspected=True, size=PHONE)
    opened.page.goto("/")
    assert opened.violations() == []
    _sign_in(opened, "guess")
    expect(opened.page.get_by_role("alert")).to_be_visible()
    assert opened.violations() == []
    assert opened.width_beyond() <= 0
