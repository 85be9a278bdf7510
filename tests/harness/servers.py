"""The servers that a test run shares: each starts once, when asked for or before that, in parallel."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from tests.harness import locate
from tests.harness.control_plane import ControlPlane, OwnControlPlane
from tests.harness.database_servers import DatabaseHost, DatabaseServer, NamedServer, ServerKind
from tests.harness.databases import DatabaseKind
from tests.harness.reaper import Reaper

_DSN_VARIABLES: dict[ServerKind, str] = {
    "mariadb": locate.MARIADB_DSN_VARIABLE,
    "mysql": locate.MYSQL_DSN_VARIABLE,
}
_CONTROL_PLANE = "control_plane"


def database_kinds() -> tuple[DatabaseKind, ...]:
    """What the database suites run on; MySQL where there is one, or where this run must have one."""
    mysql = locate.mysql_is_wanted() or os.environ.get(locate.MYSQL_DSN_VARIABLE) or locate.find_mysql()
    return ("sqlite", "mariadb", "mysql") if mysql else ("sqlite", "mariadb")


class Servers:
    """Starts what is asked for, hands the same to everyone, and ends it all with the run."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="piko-test-"))
        self.reaper = Reaper()
        self.reaper.adopt_folder(self.folder)
        self._threads = ThreadPoolExecutor(thread_name_prefix="servers")
        self._starting: dict[str, Future[Any]] = {}
        self._stops: list[Callable[[], None]] = []

    def control_plane(self) -> ControlPlane:
        """The API server that the environment names, else one of this run's own."""
        plane: ControlPlane = self._once(_CONTROL_PLANE, self._start_control_plane).result()
        return plane

    def database_host(self, kind: ServerKind) -> DatabaseHost:
        """The server that the environment names, else one of this run's own."""
        host: DatabaseHost = self._once(kind, partial(self._start_database_host, kind)).result()
        return host

    def begin(self, names: Iterable[str]) -> None:
        """Starts servers in the background, by the names `control_plane`, `mariadb`, `mysql`."""
        for name in names:
            match name:
                case "control_plane":
                    self._once(_CONTROL_PLANE, self._start_control_plane)
                case "mariadb" | "mysql" as kind:
                    self._once(kind, partial(self._start_database_host, kind))

    def export(self) -> None:
        """Starts all servers and names them in the environment, for test processes that this one starts."""
        kinds: list[ServerKind] = [kind for kind in database_kinds() if kind != "sqlite"]
        self.begin([_CONTROL_PLANE, *kinds])
        for kind in kinds:
            os.environ[_DSN_VARIABLES[kind]] = self.database_host(kind).dsn
        os.environ[locate.KUBECONFIG_VARIABLE] = str(self.control_plane().admin_kubeconfig)

    def close(self) -> None:
        """Ends every server and removes its folder. What a killed run would leave, the reaper ends."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        for stop in reversed(self._stops):
            stop()
        self.reaper.close()

    def _once(self, name: str, start: Callable[[], Any]) -> Future[Any]:
        if name not in self._starting:
            self._starting[name] = self._threads.submit(start)
        return self._starting[name]

    def _start_control_plane(self) -> ControlPlane:
        named = os.environ.get(locate.KUBECONFIG_VARIABLE)
        folder = self.folder / "control-plane"
        if named:
            return ControlPlane.named_by(Path(named), folder=folder)
        plane = OwnControlPlane(folder=folder, reaper=self.reaper)
        self._stops.append(plane.stop)
        plane.start()
        return plane

    def _start_database_host(self, kind: ServerKind) -> DatabaseHost:
        named = os.environ.get(_DSN_VARIABLES[kind])
        if named:
            return NamedServer(kind=kind, dsn=named)
        server = DatabaseServer(kind=kind, folder=self.folder / kind, reaper=self.reaper)
        self._stops.append(server.kill)
        server.start()
        return server
