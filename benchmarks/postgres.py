"""A PostgreSQL for one measurement: its own folder and port, loopback only, durable, and deleted afterwards.

It promises what the MariaDB beside it promises: a commit has reached the disk before it is answered
(`fsync`, `synchronous_commit`), and pages are guarded against torn writes exactly when MariaDB's are
(`full_page_writes` here, `innodb_doublewrite` there). Everything else is PostgreSQL's default.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import psycopg
from tests.harness.debian import install_postgresql
from tests.harness.locate import MissingToolError, find_postgresql
from tests.harness.ports import free_port
from tests.harness.processes import ChildProcess
from tests.harness.reaper import Reaper

USER = "piko"

# PostgreSQL refuses to run as root; Debian's package makes this user.
_SYSTEM_USER = "postgres"
_TIMEOUT_S = 90


class PostgresServer:
    """A server whose files lie in `folder`, which it makes.

    Stopped or interrupted it leaves nothing; killed with SIGKILL, 56 bytes of shared memory until the reboot.
    """

    def __init__(self, *, folder: Path, reaper: Reaper, full_page_writes: bool) -> None:
        self.port = free_port()
        self._folder = folder
        self._reaper = reaper
        self._full_page_writes = full_page_writes
        self._programs = _find_or_install()
        self._process: ChildProcess | None = None

    def start(self) -> None:
        """Makes its data and starts it; returns when it accepts connections."""
        self._folder.mkdir(mode=0o700)
        if os.geteuid() == 0:
            shutil.chown(self._folder, user=_SYSTEM_USER)
        self._initialize()
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self._folder),
            "dynamic_shared_memory_type": "mmap",  # files in the folder: a killed server leaves no others
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on" if self._full_page_writes else "off",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._process = ChildProcess(
            self._unprivileged([self._programs / "postgres", "-D", self._data, *options]),
            name="postgres",
            log=self._folder / "server.log",
            reaper=self._reaper,
            cwd=self._folder,
        )
        self._process.wait_for_line("ready to accept connections", timeout=_TIMEOUT_S)

    def stop(self) -> None:
        """A fast shutdown: open connections are cut, nothing is lost."""
        if self._process is not None and self._process.running:
            self._process.signal(signal.SIGINT)
            self._process.wait(timeout=_TIMEOUT_S)

    def version(self) -> str:
        """The server's version, such as `15.18`."""
        with psycopg.connect(self._dsn("postgres")) as connection:
            found = connection.info.server_version
        return f"{found // 10_000}.{found % 10_000}"

    def create_database(self, name: str) -> str:
        """Creates an empty database and returns the DSN that reaches it."""
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self._dsn(name)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _dsn(self, database: str) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def _initialize(self) -> None:
        command = self._unprivileged(
            [
                self._programs / "initdb",
                f"--pgdata={self._data}",
                f"--username={USER}",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
            ]
        )
        outcome = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=_TIMEOUT_S,
            cwd=self._folder,
        )
        if outcome.returncode != 0:
            raise AssertionError(f"PostgreSQL could not make its folder of data:\n{outcome.stdout}")

    def _unprivileged(self, command: Sequence[str | Path]) -> list[str | Path]:
        """The command as it has to be run here: `setpriv` becomes it, so that the pid is the server's own."""
        if os.geteuid() != 0:
            return list(command)
        identity = (f"--reuid={_SYSTEM_USER}", f"--regid={_SYSTEM_USER}", "--init-groups")
        return ["setpriv", *identity, "--", *command]


def _find_or_install() -> Path:
    try:
        return find_postgresql()
    except MissingToolError:
        return install_postgresql(say=print)
