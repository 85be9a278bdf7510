"""What other schedulers and queues make of the same no-op jobs, to stand beside Piko's own throughput.

    python -m benchmarks.peers                          # servers of its own; 20,000 jobs, median of 3
    python -m benchmarks.peers --jobs 5000 --repeats 1

PgQueuer and Procrastinate drain a full queue on a PostgreSQL of this run; APScheduler 3 is saturated with
schedules on MariaDB. How each is set up, and why, says `benchmarks.peer_workers`. Both servers answer a
commit when it is on disk. Each measurement is a process of its own, on an empty database; the peers take
turns, so that they meet the same noise. They need `piko[bench]`, which `make bench-runs` installs.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import importlib.util
import json
import signal
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import make_url
from tests.harness.database_servers import DatabaseServer
from tests.harness.databases import create_database, drop_database, run_statement
from tests.harness.debian import install_mariadb
from tests.harness.locate import MissingToolError, find_mariadb
from tests.harness.processes import ChildProcess
from tests.harness.reaper import Reaper

if TYPE_CHECKING:
    from benchmarks.peer_workers import Figures
    from benchmarks.postgres import PostgresServer

_ROOT = Path(__file__).parents[1]
_MODULES = ("apscheduler", "asyncpg", "pgqueuer", "procrastinate", "psycopg", "psycopg_pool", "pymysql")
_PEERS = ("pgqueuer", "procrastinate", "apscheduler")
_NAMES = {"pgqueuer": "PgQueuer", "procrastinate": "Procrastinate", "apscheduler": "APScheduler"}

# Its rate does not depend on the length of the queue, and it takes long.
_PROCRASTINATE_JOBS = 5_000

_MEASUREMENT_TIMEOUT_S = 600


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer's completed runs per second, durably recorded, and processor time by one worker; medians."""

    name: str
    version: str
    runs_per_s: float
    processor_us: float
    note: str


class MeasurementError(RuntimeError):
    """A peer could not be measured."""


def measure_peers(*, mariadb_dsn: str, jobs: int, repeats: int) -> list[Peer]:
    """Measures each peer `repeats` times with `jobs` queued jobs, in about 35 s for each repeat.

    One that cannot be measured is left out, and stderr says why. `mariadb_dsn` is that of a user who may
    create databases; MariaDB must have `innodb_flush_log_at_trx_commit=1`, else `ValueError`. PostgreSQL is
    started here and ended again. Raises `MissingToolError` where something has to be installed first. It
    blocks: call it outside an event loop.
    """
    if jobs < 1 or repeats < 1:
        raise ValueError(f"measure_peers(jobs={jobs}, repeats={repeats}): expected at least 1 of each")
    _require_modules()
    doublewrite = _durable_mariadb(mariadb_dsn)
    measured: dict[str, list[Figures]] = {name: [] for name in _PEERS}

    def measure(name: str, one: Callable[[], Figures]) -> None:
        try:
            measured[name].append(one())
        except MeasurementError as error:  # its own trouble: the others are measured all the same
            print(f"{_NAMES[name]}: {error}", file=sys.stderr, flush=True)

    with _place() as place, _postgresql(place, full_page_writes=doublewrite) as server:
        version = server.version()
        for repeat in range(repeats):
            for name in ("pgqueuer", "procrastinate"):
                dsn = server.create_database(f"{name}_{repeat}")
                measure(name, partial(_child, name, dsn=dsn, jobs=_queued(name, jobs), place=place))
            measure("apscheduler", partial(_apscheduler, mariadb_dsn, place=place))
    return [
        Peer(
            name=_NAMES[name],
            version=importlib.metadata.version(name),
            runs_per_s=statistics.median(one.runs_per_s for one in figures),
            processor_us=statistics.median(one.processor_us for one in figures),
            note=_note(name, figures, jobs=_queued(name, jobs), postgresql=version),
        )
        for name, figures in measured.items()
        if figures
    ]


def print_peers(peers: list[Peer]) -> None:
    """One line for each peer."""
    for peer in peers:
        print_line(f"{peer.name} {peer.version}", peer.runs_per_s, peer.processor_us, peer.note)


def print_line(name: str, runs_per_s: float, processor_us: float, note: str) -> None:
    """One line: a name, runs per second, and microseconds of the worker's processor for each run."""
    print(f"{name:<22}{runs_per_s:>8,.0f} runs/s  {processor_us:>7,.0f} µs a run   {note}", flush=True)


def _queued(name: str, jobs: int) -> int:
    return min(jobs, _PROCRASTINATE_JOBS) if name == "procrastinate" else jobs


def _note(name: str, figures: list[Figures], *, jobs: int, postgresql: str) -> str:
    from benchmarks import peer_workers as workers

    rates = [one.runs_per_s for one in figures]
    spread = f"{min(rates):,.0f} to {max(rates):,.0f}"
    stored = statistics.median(one.stored_per_s for one in figures)
    match name:
        case "pgqueuer":
            setting = f"batches of {workers.PGQUEUER_BATCH}, pool of {workers.PGQUEUER_POOL}"
        case "procrastinate":
            setting = f"{workers.PROCRASTINATE_WORKERS} workers x {workers.PROCRASTINATE_CONCURRENCY} jobs"
        case _:
            share = statistics.median(one.landing_share for one in figures)
            return (
                f"{spread}; {share:.0%} of what {workers.APSCHEDULER_SCHEDULES:,} schedules of 1 s had due; "
                f"MariaDB, no limit to lateness, no outcomes recorded; schedules stored {stored:,.0f}/s"
            )
    return f"{spread}; {jobs:,} jobs; PostgreSQL {postgresql}, {setting}; jobs stored {stored:,.0f}/s"


# ---- servers --------------------------------------------------------------------------------------


def _require_modules() -> None:
    missing = [name for name in _MODULES if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingToolError(
            f"the peers' packages are not installed ({', '.join(missing)}): run `make bench-runs`, or "
            f"`pip install -c constraints.txt -e '.[bench,test]'`"
        )


def _durable_mariadb(dsn: str) -> bool:
    """Whether MariaDB guards against torn pages. Raises `ValueError` unless commits are on disk."""
    [(flush, doublewrite)] = asyncio.run(
        run_statement(dsn, "SELECT @@innodb_flush_log_at_trx_commit, @@innodb_doublewrite")
    )
    if flush != 1:
        raise ValueError(
            f"mariadb_dsn: MariaDB on port {make_url(dsn).port} has innodb_flush_log_at_trx_commit={flush}, "
            f"expected 1, as only that records durably: SET GLOBAL innodb_flush_log_at_trx_commit = 1"
        )
    return str(doublewrite) not in ("0", "OFF")


@dataclass(frozen=True, slots=True)
class _Place:
    """A folder for servers and logs; what runs or lies there when this process ends, however, is removed."""

    folder: Path
    reaper: Reaper


@contextmanager
def _place() -> Iterator[_Place]:
    reaper = Reaper()
    try:
        folder = Path(tempfile.mkdtemp(prefix="piko-peers-"))
        reaper.adopt_folder(folder)
        folder.chmod(0o711)  # PostgreSQL's own user has to reach its folder inside
        yield _Place(folder=folder, reaper=reaper)
    finally:
        reaper.close()


@contextmanager
def _postgresql(place: _Place, *, full_page_writes: bool) -> Iterator[PostgresServer]:
    from benchmarks.postgres import PostgresServer

    server = PostgresServer(
        folder=place.folder / "postgres", reaper=place.reaper, full_page_writes=full_page_writes
    )
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextmanager
def _mariadb() -> Iterator[str]:
    """The DSN of a MariaDB of this run that answers a commit when it is on disk."""
    try:
        find_mariadb()
    except MissingToolError:
        install_mariadb(say=print)
    with _place() as place:
        folder = place.folder / "mariadb"
        server = DatabaseServer(kind="mariadb", folder=folder, reaper=place.reaper, durable=True)
        try:
            server.start()
            yield server.dsn
        finally:
            server.stop()


# ---- one measurement ------------------------------------------------------------------------------


def _apscheduler(mariadb_dsn: str, *, place: _Place) -> Figures:
    database = asyncio.run(create_database("mariadb", mariadb_dsn))
    url = make_url(database.dsn).set(drivername="mysql+pymysql")
    try:
        return _child("apscheduler", dsn=url.render_as_string(hide_password=False), jobs=0, place=place)
    finally:
        asyncio.run(drop_database(database))


def _child(peer: str, *, dsn: str, jobs: int, place: _Place) -> Figures:
    from benchmarks.peer_workers import Figures

    child = ChildProcess(
        [sys.executable, "-m", "benchmarks.peers", "--part", peer, "--dsn", dsn, "--jobs", str(jobs)],
        name=peer,
        log=place.folder / f"{make_url(dsn).database}.log",  # one for each measurement
        reaper=place.reaper,
        cwd=_ROOT,
    )
    try:
        code = child.wait(timeout=_MEASUREMENT_TIMEOUT_S)
    finally:
        if child.running:
            child.kill()
    if code != 0:
        raise MeasurementError(f"its measurement ended with {code}:\n{child.tail()}")
    figures = [line for line in child.output.splitlines() if line.startswith("{")]
    answer: dict[str, float] = json.loads(figures[-1])
    return Figures(**answer)


def _measured(peer: str, *, dsn: str, jobs: int) -> Figures:
    from benchmarks import peer_workers as workers

    match peer:
        case "pgqueuer":
            import uvloop

            figures: Figures = uvloop.run(workers.pgqueuer(dsn, jobs))
            return figures
        case "procrastinate":
            return asyncio.run(workers.procrastinate(dsn, jobs))
        case _:
            return asyncio.run(workers.apscheduler(dsn))


def _end(number: int, _frame: Any) -> None:
    """SIGTERM unwinds like Ctrl-C, so that the servers are stopped."""
    sys.exit(128 + number)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--part", choices=_PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--dsn", help=argparse.SUPPRESS)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _end)
    if options.part:
        print(json.dumps(asdict(_measured(options.part, dsn=options.dsn, jobs=options.jobs))))
        return
    try:
        _require_modules()
        with _mariadb() as dsn:
            print_peers(measure_peers(mariadb_dsn=dsn, jobs=options.jobs, repeats=options.repeats))
    except MissingToolError as missing:
        sys.exit(f"peers: {missing}")


if __name__ == "__main__":
    main()
