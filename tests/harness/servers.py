"""The servers that a test run shares: each starts once, when a test asks for it.

The processes of one run (`pytest -n`) share them too. The first that asks for a server starts it, under a
lock in the run's folder, and writes down where it is; the others read that.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tests.harness import locate, tiers
from tests.harness.control_plane import ControlPlane, OwnControlPlane
from tests.harness.database_servers import DatabaseHost, DatabaseServer, NamedServer, ServerKind
from tests.harness.databases import DatabaseKind
from tests.harness.reaper import Reaper

_RUN_VARIABLE = "PIKO_TEST_RUN"
_CONTROL_PLANE = "control_plane"
_REAPER = "reaper"
_VARIABLES = {
    _CONTROL_PLANE: locate.KUBECONFIG_VARIABLE,
    "mariadb": locate.MARIADB_DSN_VARIABLE,
    "mysql": locate.MYSQL_DSN_VARIABLE,
}


def database_kinds() -> tuple[DatabaseKind, ...]:
    """What the database suites run on; MySQL where there is one, or where this run must have one."""
    mysql = locate.mysql_is_wanted() or os.environ.get(locate.MYSQL_DSN_VARIABLE) or locate.find_mysql()
    return ("sqlite", "mariadb", "mysql") if mysql else ("sqlite", "mariadb")


class Servers:
    """Starts what is asked for, hands the same to everyone, and ends it all with the run."""

    def __init__(self) -> None:
        self._set_up(Path(tempfile.mkdtemp(prefix="piko-test-")), Reaper())
        self._ends_servers = True
        self.reaper.adopt_folder(self.folder)
        (self.folder / _REAPER).symlink_to(self.reaper.pipe)

    @classmethod
    def joining(cls, folder: Path) -> Servers:
        """Those of another process of this run, by the run's `folder`."""
        joined = cls.__new__(cls)
        joined._set_up(folder, Reaper.joining(folder / _REAPER))
        joined._ends_servers = False
        return joined

    @classmethod
    def of_this_run(cls) -> Servers:
        """Those of the process that started this one, if that has exported its own, else new ones."""
        folder = os.environ.get(_RUN_VARIABLE)
        return cls.joining(Path(folder)) if folder else cls()

    def _set_up(self, folder: Path, reaper: Reaper) -> None:
        self.folder = folder
        self.reaper = reaper
        self._threads = ThreadPoolExecutor(thread_name_prefix="servers")
        self._starting: dict[str, Future[Any]] = {}
        self._started: list[DatabaseServer | OwnControlPlane] = []

    def control_plane(self) -> ControlPlane:
        """The API server that the environment names, else one of this run's own."""
        plane: ControlPlane = self._once(_CONTROL_PLANE, self._find_control_plane).result()
        return plane

    def database_host(self, kind: ServerKind) -> DatabaseHost:
        """The server that the environment names, else one of this run's own."""
        host: DatabaseHost = self._once(kind, partial(self._find_database_host, kind)).result()
        return host

    def begin(self, names: Iterable[str]) -> None:
        """Starts servers, by the names `control_plane`, `mariadb`, `mysql`, all at once, and waits for them.

        No test runs meanwhile: what starts a server goes by the environment and the folder of this process,
        and tests change both. Why one did not start, the tests that ask for it say.
        """
        for name in names:
            match name:
                case "control_plane":
                    self._once(_CONTROL_PLANE, self._find_control_plane)
                case "mariadb" | "mysql" as kind:
                    self._once(kind, partial(self._find_database_host, kind))
        wait(self._starting.values())

    def export(self) -> None:
        """Names this run in the environment, for test processes that this one starts."""
        os.environ[_RUN_VARIABLE] = str(self.folder)

    def close(self) -> None:
        """Ends the servers, or leaves them to the run's other processes, after which the reaper does."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        for server in self._started if self._ends_servers else ():
            server.kill()
        self.reaper.close()

    def _once(self, name: str, find: Callable[[], Any]) -> Future[Any]:
        if name not in self._starting:
            if not os.environ.get(_VARIABLES[name]):
                tiers.refuse_servers(name)
            self._starting[name] = self._threads.submit(_for_the_run, find)
        return self._starting[name]

    def _find_control_plane(self) -> ControlPlane:
        named = os.environ.get(_VARIABLES[_CONTROL_PLANE])
        kubeconfig = Path(named) if named else Path(self._place_of(_CONTROL_PLANE, self._start_control_plane))
        return ControlPlane.named_by(kubeconfig, folder=self.folder / f"{_CONTROL_PLANE}-{os.getpid()}")

    def _find_database_host(self, kind: ServerKind) -> DatabaseHost:
        named = os.environ.get(_VARIABLES[kind])
        dsn = named or self._place_of(kind, partial(self._start_database, kind))
        return NamedServer(kind=kind, dsn=dsn)

    def _start_control_plane(self) -> str:
        plane = OwnControlPlane(folder=self.folder / _CONTROL_PLANE, reaper=self.reaper)
        self._started.append(plane)
        plane.start()
        return str(plane.admin_kubeconfig)

    def _start_database(self, kind: ServerKind) -> str:
        server = DatabaseServer(kind=kind, folder=self.folder / kind, reaper=self.reaper)
        self._started.append(server)
        server.start()
        return server.dsn

    def _place_of(self, name: str, start: Callable[[], str]) -> str:
        """Where a server of this run is, as whoever started it wrote down; else `start` says it."""
        noted = self.folder / f"{name}.place"
        with _locked(self.folder / f"{name}.lock"):
            if not noted.exists():
                noted.write_text(start(), encoding="utf-8")
            return noted.read_text(encoding="utf-8")


def _for_the_run(find: Callable[[], Any]) -> Any:
    with tiers.preparing_the_run():
        return find()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
