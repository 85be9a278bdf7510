"""The documentation as a site: links lead somewhere, both languages are found, no other server is asked."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from website.build import build
from website.pages import write

from tests.docs.pages import ROOT, pages

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.usefixtures("slow")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of this repository, built as `make site` does."""
    folder = tmp_path_factory.mktemp("site")
    write(folder / "source")
    assert build(folder / "source", folder / "site") == 0
    return folder / "site"


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None: ...


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=folder))
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_every_page_of_the_documentation_is_a_page_of_the_site(site: Path) -> None:
    navigation = (site / "index.html").read_text(encoding="utf-8")
    for page in pages():
        inside = page.relative_to(ROOT / "docs").with_suffix(".html").as_posix()
        name = "map.html" if inside == "README.html" else inside.replace("README", "index")
        assert (site / name).exists(), name
        assert f'href="{name}"' in navigation, f"{name} is not in the navigation"


def test_no_page_names_a_script_a_style_or_a_picture_of_another_server(site: Path) -> None:
    loaded = re.compile(r"<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=\"((?:https?:)?//[^\"]*)")
    assert {page.name: loaded.findall(page.read_text(encoding="utf-8")) for page in site.rglob("*.html")} == {
        page.name: [] for page in site.rglob("*.html")
    }


@pytest.mark.parametrize("link", ["[a](missing.md)", "[a](other.md#nowhere)", "![a](missing.png)"])
def test_a_link_that_leads_nowhere_ends_the_build(link: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "index.md").write_text(f"# Here\n\n{link}\n\n```{{toctree}}\nother\n```\n")
    (source / "other.md").write_text("# Other\n")
    assert build(source, tmp_path / "site") == 1


@pytest.mark.parametrize(
    ("language", "words", "page"),
    [("en", "watermark", "explanation/windows.html"), ("zh", "数据窗口", "zh/windows-of-data.html")],
)
def test_a_reader_finds_a_page_in_either_language(
    language: str, words: str, page: str, site: Path, browser: Browser
) -> None:
    from tests.harness.browser import Tab

    with _served(site) as origin:
        tab = Tab(browser, origin)
        tab.page.goto("/index.html")
        tab.page.get_by_role("textbox", name="Search").fill(words)
        tab.page.keyboard.press("Enter")
        tab.page.locator(f'#search-results a[href^="{page}"]').first.click()
        assert tab.page.url.startswith(f"{origin}/{page}")
        assert tab.page.locator("html").get_attribute("lang") == language
        assert tab.complaints == []
        tab.close()


def test_diagrams_are_drawn(site: Path, browser: Browser) -> None:
    from tests.harness.browser import Tab

    written = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").count("```mermaid")
    with _served(site) as origin:
        tab = Tab(browser, origin)
        tab.page.goto("/architecture.html")
        tab.page.locator("pre.mermaid svg").nth(written - 1).wait_for()
        assert tab.page.locator("pre.mermaid svg[aria-roledescription=error]").count() == 0
        assert tab.complaints == []
        tab.close()


def test_what_is_vendored_is_as_it_was_published() -> None:
    folder = ROOT / "website" / "static"
    [(name, checksum)] = re.findall(
        r"^\| `(.+?)` .*`(\w{64})` \|$", (folder / "VENDORED.md").read_text(), re.MULTILINE
    )
    assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == checksum
