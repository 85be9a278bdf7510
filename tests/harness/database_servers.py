"""MariaDB and MySQL servers of a test run, or of one test that breaks its server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from tests.harness.databases import TestDatabase, create_database
from tests.harness.locate import find_mariadb, find_mysql
from tests.harness.ports import free_port
from tests.harness.processes import ChildProcess
from tests.harness.reaper import Reaper
from tests.harness.waiting import ANSWER_S, PATIENCE_S, wait_until

ServerKind = Literal["mariadb", "mysql"]

USER = "piko"
PASSWORD = "piko"

# Both servers refuse to run as root unless they are told to.
_AS_ROOT = ("--user=root",) if os.geteuid() == 0 else ()

# Small and quick, and still as durable as a killed process needs: only the machine's own crash loses data.
_QUICK = (
    "--innodb-buffer-pool-size=64M",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-doublewrite=0",
)
_DURABLE = ("--innodb-buffer-pool-size=1G", "--innodb-flush-log-at-trx-commit=1")
_OPTIONS = (
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--skip-log-bin",
    "--performance-schema=0",
    "--max-connections=400",
    *_AS_ROOT,
)


class DatabaseHost(Protocol):
    """What fresh databases are made on: a server of ours, or one that the environment names."""

    @property
    def kind(self) -> ServerKind: ...

    @property
    def dsn(self) -> str: ...


@dataclass(frozen=True, slots=True)
class NamedServer:
    """A server that the environment names; `dsn` is that of a user who may create databases."""

    kind: ServerKind
    dsn: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Flavour:
    """How one kind of server is called, and how its folder of data is made."""

    command: Sequence[str]
    options: Sequence[str] = ()
    initialize: Sequence[str]


class DatabaseServer:
    """A server with a folder and a port of its own; the port and the data stay through stops and kills.

    One that is `durable` flushes each COMMIT to disk, as in production.
    """

    def __init__(self, *, kind: ServerKind, folder: Path, reaper: Reaper, durable: bool = False) -> None:
        self.kind: ServerKind = kind
        self._durability = _DURABLE if durable else _QUICK
        self.port = free_port()
        self._folder = folder
        self._reaper = reaper
        self._process: ChildProcess | None = None
        self._flavour = _mariadb(self._data) if kind == "mariadb" else _mysql(self._data)
        self._initialize()

    @property
    def dsn(self) -> str:
        """The server itself, without a database."""
        return f"mysql+asyncmy://{USER}:{PASSWORD}@127.0.0.1:{self.port}/?charset=utf8mb4"

    @property
    def pid(self) -> int:
        """The server's process, while it runs."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> Path:
        return self._folder / "server.log"

    @property
    def socket(self) -> Path:
        """Where it answers on this machine without a port."""
        return self._folder / "sock"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    def start(self, *options: str) -> None:
        """Starts it, with further `options`, and returns when it answers."""
        assert not self.running, f"{self.kind} on port {self.port} runs already"
        process = ChildProcess(
            [
                *self._flavour.command,
                "--no-defaults",
                *self._flavour.options,
                *_OPTIONS,
                *self._durability,
                *options,
                f"--datadir={self._data}",
                f"--tmpdir={self._folder}",
                f"--port={self.port}",
                f"--socket={self.socket}",
                f"--pid-file={self._folder / 'pid'}",
                f"--init-file={self._folder / 'init.sql'}",
            ],
            name=self.kind,
            log=self.log,
            reaper=self._reaper,
        )
        self._process = process

        def greets() -> bool:
            if not process.running:
                raise AssertionError(
                    f"{self.kind} ended with {process.returncode} at its start:\n{process.tail()}"
                )
            return _greets(self.port)

        wait_until(greets, what=f"{self.kind} to greet on port {self.port}, log {self.log}")

    def stop(self) -> None:
        """A clean shutdown."""
        if self._process is not None and self._process.running:
            self.resume()
            self._process.terminate()

    def kill(self) -> None:
        """SIGKILL: connections break, transactions in flight are rolled back at the next start."""
        if self._process is not None:
            self._process.kill()

    def restart(self) -> None:
        """`stop`, then `start`."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """The server hangs: connections stay open and nothing is answered."""
        assert self._process is not None
        self._process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Ends `pause`."""
        assert self._process is not None
        self._process.signal(signal.SIGCONT)

    async def create_database(self) -> TestDatabase:
        """A fresh empty database; it goes with the server."""
        return await create_database(self.kind, self.dsn)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _initialize(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "init.sql").write_text(
            f"CREATE USER IF NOT EXISTS '{USER}'@'%' IDENTIFIED BY '{PASSWORD}';\n"
            f"GRANT ALL PRIVILEGES ON *.* TO '{USER}'@'%' WITH GRANT OPTION;\n",
            encoding="utf-8",
        )
        with self.log.open("ab") as output:
            outcome = subprocess.run(
                self._flavour.initialize,
                stdout=output,
                stderr=subprocess.STDOUT,
                # A server removes what others left in its folder for temporary files, so it needs its own.
                env={**os.environ, "TMPDIR": str(self._folder)},
                check=False,
                timeout=PATIENCE_S,
            )
        if outcome.returncode != 0:
            said = self.log.read_text(encoding="utf-8", errors="replace")
            raise AssertionError(f"{self.kind} could not make its folder of data:\n{said}")


def _mariadb(data: Path) -> _Flavour:
    mariadbd = find_mariadb()
    beside = mariadbd.parent.parent / "bin" / "mariadb-install-db"
    return _Flavour(
        command=(str(mariadbd),),
        initialize=(
            str(beside) if beside.exists() else "mariadb-install-db",
            "--no-defaults",
            f"--datadir={data}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            *_AS_ROOT,
        ),
    )


def _mysql(data: Path) -> _Flavour:
    installation = find_mysql()
    assert installation is not None, (
        "MySQL was asked for and is not there: run `PIKO_TEST_MYSQL=1 make servers`"
    )
    options = (*installation.options, "--mysqlx=OFF", "--secure-file-priv=NULL")
    initialize = ("--no-defaults", *options, "--initialize-insecure", f"--datadir={data}", *_AS_ROOT)
    return _Flavour(
        command=installation.command, options=options, initialize=(*installation.command, *initialize)
    )


def _greets(port: int) -> bool:
    """Whether a server sends its first packet: protocol version 10 after the four bytes of the header."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S) as connection:
            return connection.recv(5)[4:] == b"\x0a"
    except OSError:
        return False
