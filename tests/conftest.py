"""The fixtures that every suite shares; what stands behind them is in `tests/harness/`."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.harness import leftovers, locate, logging_state, tiers
from tests.harness.control_plane import ControlPlane, OwnControlPlane
from tests.harness.database_servers import DatabaseServer, ServerKind
from tests.harness.databases import (
    DatabaseKind,
    TestDatabase,
    create_database,
    drop_database,
    migrate,
    sqlite_database,
)
from tests.harness.programs import PikoProcessFactory
from tests.harness.reaper import Reaper
from tests.harness.servers import Servers, database_kinds
from tests.harness.waiting import wait_until_async

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_ROOT = Path(__file__).parent.parent
_SERVERS = pytest.StashKey[Servers]()
_SERVER_OF_MARK = {"apiserver": "control_plane", "mariadb": "mariadb", "mysql": "mysql"}
_FAILED = pytest.StashKey[bool]()
_PROGRAMS = pytest.StashKey[PikoProcessFactory]()


# On a busy machine an example may take long: no test of a property fails because of the time it took.
# Examples are random, so a failure prints what repeats it.
settings.register_profile("piko", deadline=None, print_blob=True)
settings.load_profile("piko")

# ---- the run --------------------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    for mark, meaning in tiers.MARKS.items():
        config.addinivalue_line("markers", f"{mark}: {meaning}")
    tiers.watch_programs()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks each test by what it stands on, before `-m` chooses among them."""
    for item in items:
        for mark in sorted(tiers.marks_of(item)):
            item.add_marker(mark)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """Several processes (`pytest -n`) share their servers."""
    _servers(config).export()


def pytest_collection_finish(session: pytest.Session) -> None:
    """What the chosen tests will ask for starts now, all at once: before the first test, and beside none."""
    if session.config.option.collectonly:
        return
    marks = {mark.name for item in session.items for mark in item.iter_markers()}
    wanted = {server for mark, server in _SERVER_OF_MARK.items() if mark in marks}
    if wanted:
        _servers(session.config).begin(wanted)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if _SERVERS in session.config.stash:
        session.config.stash[_SERVERS].close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    with tiers.running(item):
        outcome = yield
    if item.stash.get(_FAILED, False):
        leftovers.collect()
    return outcome


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows the logs of the programs that it started."""
    report = yield
    item.stash[_FAILED] = item.stash.get(_FAILED, False) or report.failed
    if report.failed and _PROGRAMS in item.stash:
        for program in item.stash[_PROGRAMS].started:
            report.sections.append((f"{program.name} (returncode {program.returncode})", program.tail()))
    return report


def _servers(config: pytest.Config) -> Servers:
    if _SERVERS not in config.stash:
        config.stash[_SERVERS] = Servers.of_this_run()
    return config.stash[_SERVERS]


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """What a test configures of logging ends with it."""
    with logging_state.restored():
        yield


@pytest.fixture(scope="session")
def servers(pytestconfig: pytest.Config) -> Servers:
    """The servers of this run; most tests want one of the fixtures below instead."""
    return _servers(pytestconfig)


@pytest.fixture(scope="session")
def reaper(pytestconfig: pytest.Config) -> Reaper:
    """Ends what a test has started, should the run be killed."""
    return _servers(pytestconfig).reaper


# ---- databases ------------------------------------------------------------------------------------


@pytest.fixture(params=database_kinds())
async def database(
    request: pytest.FixtureRequest, pytestconfig: pytest.Config, tmp_path: Path
) -> AsyncIterator[TestDatabase]:
    """A fresh empty database, on each kind of server in turn."""
    if request.param == "sqlite":
        yield sqlite_database(tmp_path)
        return
    async for fresh in _fresh_database(request.param, _servers(pytestconfig)):
        yield fresh


@pytest.fixture
async def mariadb(servers: Servers) -> AsyncIterator[TestDatabase]:
    """A fresh empty database on MariaDB."""
    async for fresh in _fresh_database("mariadb", servers):
        yield fresh


@pytest.fixture
def sqlite(tmp_path: Path) -> TestDatabase:
    """A fresh empty SQLite database."""
    return sqlite_database(tmp_path)


@pytest.fixture
async def migrated_database(database: TestDatabase) -> TestDatabase:
    """`database` with Piko's tables in it."""
    return await migrate(database)


@pytest.fixture(scope="session", params=database_kinds())
def kept_database(
    request: pytest.FixtureRequest, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestDatabase]:
    """A migrated database that many tests use one after the other; they ask for `emptied_database`."""
    kind: DatabaseKind = request.param

    async def make() -> TestDatabase:
        if kind == "sqlite":
            return await migrate(sqlite_database(tmp_path_factory.mktemp("kept")))
        return await migrate(await create_database(kind, _servers(pytestconfig).database_host(kind).dsn))

    kept = asyncio.run(make())
    yield kept
    if kind != "sqlite":
        asyncio.run(drop_database(kept))


@pytest.fixture
async def emptied_database(kept_database: TestDatabase) -> TestDatabase:
    """Piko's tables without a row: as `migrated_database`, without the time that migrations take."""
    from piko.errors import DatabaseUnavailableError
    from piko.store.engine import open_database
    from piko.store.schema.tables import metadata

    opened = open_database(kept_database.dsn)

    async def emptied() -> bool:
        try:
            async with opened.transaction() as connection:
                for table in metadata.tables.values():
                    await connection.execute(table.delete())
        except DatabaseUnavailableError:  # a busy server may greet later than Piko waits for a connection
            return False
        return True

    try:
        await wait_until_async(emptied, what="the tables to be emptied")
    finally:
        await opened.close()
    return kept_database


@pytest.fixture
def own_mariadb(servers: Servers) -> Iterator[DatabaseServer]:
    """A running MariaDB that belongs to this test, to be stopped, killed and paused."""
    # Not in the test's own folder: the path of a socket may have no more than 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="own-", dir=servers.folder))
    server = DatabaseServer(kind="mariadb", folder=folder, reaper=servers.reaper)
    try:
        server.start()
        yield server
    finally:
        server.kill()


async def _fresh_database(kind: ServerKind, servers: Servers) -> AsyncIterator[TestDatabase]:
    fresh = await create_database(kind, servers.database_host(kind).dsn)
    yield fresh
    await drop_database(fresh)


# ---- Kubernetes -----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def control_plane(servers: Servers) -> ControlPlane:
    """An API server with RBAC and without nodes or controllers."""
    return servers.control_plane()


@pytest.fixture
def own_control_plane(servers: Servers) -> Iterator[OwnControlPlane]:
    """An API server of this test alone, whose definitions no other test needs."""
    own = OwnControlPlane(
        folder=Path(tempfile.mkdtemp(prefix="plane-", dir=servers.folder)), reaper=servers.reaper
    )
    try:
        own.start()
        yield own
    finally:
        own.kill()


@pytest.fixture(scope="session")
def helm() -> Path:
    """The program `helm`."""
    return locate.find_tool("helm")


@pytest.fixture(scope="session")
def crds(control_plane: ControlPlane) -> ControlPlane:
    """`control_plane` that serves Piko's custom resources."""
    control_plane.install_crds(_ROOT / "crds")
    return control_plane


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """A fresh namespace; afterwards Piko's resources in it are deleted, finalizers or not."""
    name = control_plane.create_namespace()
    yield name
    control_plane.remove_namespace(name)


# ---- browser --------------------------------------------------------------------------------------


@pytest.fixture
def browser() -> Iterator[Browser]:
    """A real browser of this test: while one runs, its event loop keeps others from running here."""
    from tests.harness.browser import running_browser

    with running_browser() as running:
        yield running


# ---- programs -------------------------------------------------------------------------------------


@pytest.fixture
def programs() -> None:
    """Marks a test that starts programs by itself, such as commands that it waits for."""


@pytest.fixture
def slow() -> None:
    """Marks a test that takes seconds."""


@pytest.fixture
def piko_process(
    request: pytest.FixtureRequest, reaper: Reaper, tmp_path: Path
) -> Iterator[PikoProcessFactory]:
    """Starts Python programs that end with the test at the latest."""
    factory = PikoProcessFactory(folder=tmp_path, reaper=reaper)
    request.node.stash[_PROGRAMS] = factory
    yield factory
    factory.close()
