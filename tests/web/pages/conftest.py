from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from piko.clock import SystemClock
from piko.store.schema.migrate import upgrade
from piko.web.options import WebSettings
from piko.web.server import web_server
from tests.harness.browser import Tab
from tests.harness.databases import sqlite_database
from tests.web.pages.night import write_night

OpenTab = Callable[..., Tab]


@contextmanager
def served(folder: Path, **settings: Any) -> Iterator[str]:
    """The origin of a served site over a night's rows and 300 further jobs, on SQLite."""
    database = sqlite_database(folder)
    asyncio.run(upgrade(database.dsn))
    asyncio.run(write_night(database.dsn, many=300))
    with serving_site(database.dsn, **settings) as origin:
        yield origin


@contextmanager
def serving_site(dsn: str, **settings: Any) -> Iterator[str]:
    """The origin of a site over the database of `dsn`."""
    web = WebSettings(dsn=SecretStr(dsn), timezone="UTC", **settings)
    server = web_server(web, clock=SystemClock(), registry=CollectorRegistry())
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(listening)), name="site")
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.stop()
            thread.join()


@contextmanager
def opening(
    browser: Browser, site: str, *, headers: Mapping[str, str] | None = None, expected: str | None = None
) -> Iterator[OpenTab]:
    """Opens tabs of the site that send `headers`; none may complain meanwhile but of what is `expected`."""
    opened: list[Tab] = []

    def open_tab(**how: object) -> Tab:
        opened.append(Tab(browser, site, headers=headers, **how))  # type: ignore[arg-type]
        return opened[-1]

    yield open_tab
    complaints = [complaint for one in opened for complaint in one.complaints]
    if expected is not None:
        complaints = [complaint for complaint in complaints if expected not in complaint]
    for one in opened:
        one.close()
    assert not complaints


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The origin of a site on which nobody may act."""
    with served(tmp_path_factory.mktemp("site")) as origin:
        yield origin


@pytest.fixture
def tab(browser: Browser, site: str) -> Iterator[OpenTab]:
    """Opens tabs of `site`."""
    with opening(browser, site) as open_tab:
        yield open_tab


@pytest.fixture
def acting_site(tmp_path: Path) -> Iterator[str]:
    """The origin of a site of its own on which ann acts, whom a proxy names."""
    proxy = {"access": "header", "operators": ("ann",), "trusted_proxies": ("127.0.0.1/32",)}
    with served(tmp_path, **proxy) as origin:
        yield origin


@pytest.fixture
def acting_tab(acting_site: str, browser: Browser) -> Iterator[OpenTab]:
    """Opens tabs of `acting_site`, as ann."""
    with opening(browser, acting_site, headers={"X-Forwarded-User": "ann"}) as open_tab:
        yield open_tab
