from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The origin of a served site over a night's rows and 300 further jobs, on SQLite."""
    database = sqlite_database(tmp_path_factory.mktemp("site"))
    asyncio.run(upgrade(database.dsn))
    asyncio.run(write_night(database.dsn, many=300))
    with serving_site(database.dsn) as origin:
        yield origin


@contextmanager
def serving_site(dsn: str) -> Iterator[str]:
    """The origin of a site over the database of `dsn`."""
    settings = WebSettings(dsn=SecretStr(dsn), timezone="UTC")
    server = web_server(settings, clock=SystemClock(), registry=CollectorRegistry())
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(listening)), name="site")
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.stop()
            thread.join()


@pytest.fixture
def tab(browser: Browser, site: str) -> Iterator[OpenTab]:
    """Opens tabs of the site; none of them may complain while the test lasts."""
    opened: list[Tab] = []

    def open_tab(**how: object) -> Tab:
        opened.append(Tab(browser, site, **how))  # type: ignore[arg-type]
        return opened[-1]

    yield open_tab
    complaints = [complaint for one in opened for complaint in one.complaints]
    for one in opened:
        one.close()
    assert not complaints
