"""A real browser, and a page of it that fails its test for what a person would not see.

Such a page notes each request that leaves its origin, each error in its console and each exception of a
script; `Tab.complaints` has them, and the fixture `tab` asks for them at the end of the test.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.harness import locate
from tests.harness.waiting import PATIENCE_S

Scheme = Literal["light", "dark"]
AXE = Path(__file__).parent / "axe" / "axe-4.14.1.min.js"
DESK = (1280, 900)
PHONE = (390, 800)

# `expect` has a bound of its own, five seconds, whatever that of its page is.
expect.set_options(timeout=PATIENCE_S * 1000)


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Chromium without a window. Without a sandbox of its own: as root, it refuses one."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=locate.find_chromium(),
            args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"],
            timeout=PATIENCE_S * 1000,
        )
        try:
            yield browser
        finally:
            browser.close()


class Tab:
    """One tab of `browser` at the site that `origin` names."""

    def __init__(
        self,
        browser: Browser,
        origin: str,
        *,
        scheme: Scheme = "light",
        size: tuple[int, int] = DESK,
        scripts: bool = True,
        inspected: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.origin = origin
        self.complaints: list[str] = []
        self._context = browser.new_context(
            base_url=origin,
            color_scheme=scheme,
            viewport={"width": size[0], "height": size[1]},
            java_script_enabled=scripts,
            bypass_csp=inspected,  # axe is a script that the page itself would refuse
            reduced_motion="reduce",
            extra_http_headers=dict(headers or {}),
        )
        self._context.set_default_timeout(PATIENCE_S * 1000)
        self.page: Page = self._context.new_page()
        self.page.on("request", self._note_request)
        self.page.on("console", self._note_console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))

    def close(self) -> None:
        self._context.close()

    def violations(self) -> list[str]:
        """What axe finds wrong with the page as it is shown, a line for each rule that is broken."""
        self.page.add_script_tag(path=AXE)
        found: dict[str, Any] = json.loads(self.page.evaluate("axe.run().then(r => JSON.stringify(r))"))
        return [
            f"{item['id']}: {item['help']}: {[node['html'][:200] for node in item['nodes'][:3]]}"
            for item in found["violations"]
        ]

    def width_beyond(self) -> int:
        """By how many pixels the page is wider than the window."""
        script = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        return int(self.page.evaluate(script))

    def _note_request(self, request: Request) -> None:
        if urlsplit(request.url)._replace(path="", query="", fragment="").geturl() != self.origin:
            self.complaints.append(f"a request left the origin: {request.url[:200]}")

    def _note_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"console: {message.text[:300]}")
