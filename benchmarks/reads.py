"""What each page and endpoint costs on 10,000 jobs and 2,000,000 runs: statements, time, processor time.

    python -m benchmarks.reads                       # fills a MariaDB of its own first: some minutes
    python -m benchmarks.reads --runs 100000 --only '/runs'
    python -m benchmarks.reads --runs 100000 --scene behind --only /attention

Every address of `tests.web.addresses` is asked as its first page, and lists also in their middle and at their
end; those that say who needs a person, in each scene of `benchmarks.history`. By address: statements;
milliseconds from sending to answers of all of them, the median and the p99; and milliseconds of processor
time, user and system, of the database and of the application, in mean. The application runs in this process,
so its time has that of the client in it. What takes more than 50 ms of both processors, or more than 5
statements, is listed at the end, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from sqlalchemy import event
from sqlalchemy.engine import Engine
from tests.harness.databases import TestDatabase
from tests.web.addresses import API, Known, addresses, key_in, with_cursor
from tests.web.clients import serving

from benchmarks.database import durable_mariadb
from benchmarks.history import AS_FILLED, SCENES, Size, fill, set_scene
from benchmarks.run_cost import processor_s

MOST_STATEMENTS, MOST_MS = 5, 50.0
_ACCEPT = {"Accept": "text/html, application/json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one address costs in a scene; times are milliseconds."""

    scene: str
    address: str
    statements: int
    median_ms: float
    p99_ms: float
    database_ms: float
    application_ms: float
    bytes: int

    @property
    def over(self) -> bool:
        """Whether it costs more than a read may."""
        return self.statements > MOST_STATEMENTS or self.database_ms + self.application_ms > MOST_MS

    def __str__(self) -> str:
        times = f"{self.median_ms:8.1f} {self.p99_ms:8.1f} {self.database_ms:8.1f} {self.application_ms:8.1f}"
        return f"{self.statements:>3} {times} {self.bytes:>9,}  {self.scene:7}  {self.address}"


_HEAD = "  n   median      p99 database  appl. ms     bytes  scene"


@dataclass(slots=True)
class _Sent:
    """Statements that this process sends, and how long their answers took."""

    count: int = 0
    seconds: float = 0.0
    _begun: list[float] = field(default_factory=list)

    def before(self, *_: Any) -> None:
        self._begun.append(time.perf_counter())

    def after(self, *_: Any) -> None:
        self.count += 1
        self.seconds += time.perf_counter() - self._begun.pop()


@contextmanager
def _sent() -> Iterator[_Sent]:
    sent = _Sent()
    event.listen(Engine, "before_cursor_execute", sent.before)
    event.listen(Engine, "after_cursor_execute", sent.after)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", sent.before)
        event.remove(Engine, "after_cursor_execute", sent.after)


async def cost_of(
    web: httpx.AsyncClient, address: str, *, server: int, repeats: int, scene: str = AS_FILLED
) -> Cost:
    """What `address` costs once it was asked before."""
    answer = await web.get(address, headers=_ACCEPT)
    if answer.status_code not in (200, 404):
        raise AssertionError(f"{address}: {answer.status_code} {answer.text[:500]}")
    times = []
    of_database, of_application = processor_s(server) * 1000, time.process_time()
    for _ in range(repeats):
        with _sent() as sent:
            await web.get(address, headers=_ACCEPT)
        times.append(sent.seconds * 1000)
    of_application = (time.process_time() - of_application) * 1000 / repeats
    return Cost(
        scene=scene,
        address=address,
        statements=sent.count,
        median_ms=statistics.median(times),
        p99_ms=sorted(times)[min(int(repeats * 0.99), repeats - 1)],
        database_ms=(processor_s(server) * 1000 - of_database) / repeats,
        application_ms=of_application,
        bytes=len(answer.content),
    )


async def places(web: httpx.AsyncClient, address: str, size: Size) -> list[str]:
    """The address, and those of a page in the middle and near the end of the list that it begins."""
    if not address.startswith("/api/"):
        return [address]
    listed = (await web.get(address, headers={"Accept": "application/json"})).json()
    cursor = listed.get("next") if isinstance(listed, dict) else None
    if cursor is None:
        return [address]
    key = key_in(cursor)
    keys = [await _place(web, address, key, part, size) for part in (0.5, 0.999)]
    return [address, *(with_cursor(address, cursor, key=moved) for moved in keys)]


async def _place(web: httpx.AsyncClient, address: str, key: list[Any], part: float, size: Size) -> list[Any]:
    """Where in its order the item stands that `part` of the list lies before; `key` if that is not known."""
    if "/runs" in address:
        number = max(int(size.runs * (1 - part)), 1)
        run = (await web.get(f"/api/v1/runs/run-{number:09}")).json()
        return [run["scheduled_time"], run["run_id"]]
    if "/changes" in address:
        return [f"change-{int(200_000 * (1 - part)):09}"]
    if isinstance(key[-1], str) and key[-1].startswith("job-"):
        return [*key[:-1], f"job-{int(size.jobs * part):05}"]
    return key


def known(size: Size) -> Known:
    """Ids of `benchmarks.history`; a job that keeps a twentieth of all runs, since it is the worst."""
    return Known(
        job="job-00001",
        stateful="job-00003",
        run=f"run-{size.runs // 20 * 10:09}",
        backfill="backfill-00001",
        letter="letter-000000001",
        replica="replica-0",
        sink="sink-1",
        since="2026-01-01T00:00:00Z",
        until="2100-01-01T00:00:00Z",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What to measure: addresses that contain `only`, in `scenes`, each asked `repeats` times."""

    scenes: Sequence[str]
    only: str
    repeats: int


async def measure(database: TestDatabase, *, server: int, size: Size, asked: Asked) -> list[Cost]:
    """The cost of each address in each scene, printed as it is known."""
    found = []
    print(_HEAD, flush=True)
    for scene in asked.scenes:
        await set_scene(database, scene)
        async with serving(database) as web:
            for address in addresses(known(size)):
                if asked.only not in address or not _differs(address, scene):
                    continue
                for place in await places(web, address, size):
                    cost = await cost_of(web, place, server=server, repeats=asked.repeats, scene=scene)
                    found.append(cost)
                    print(cost, flush=True)
    return found


def _differs(address: str, scene: str) -> bool:
    """Whether `scene` may change what `address` costs."""
    return scene == AS_FILLED or address == "/" or address.startswith(f"{API}/attention")


@asynccontextmanager
async def _filled(size: Size) -> AsyncIterator[tuple[TestDatabase, int]]:
    async with durable_mariadb() as server:
        database = await server.create_database()
        begun = time.monotonic()
        await fill(database, size)
        print(f"filled in {time.monotonic() - begun:.0f} s", flush=True)
        yield database, server.pid


async def run(options: argparse.Namespace) -> bool:
    """Measure, and say what is over; whether anything is."""
    size = Size(jobs=options.jobs, runs=options.runs)
    scenes = [options.scene] if options.scene else list(SCENES)
    asked = Asked(scenes=scenes, only=options.only, repeats=options.repeats)
    if options.dsn:
        database = TestDatabase(kind="mariadb", dsn=options.dsn)
        costs = await measure(database, server=options.server, size=size, asked=asked)
    else:
        async with _filled(size) as (database, server):
            costs = await measure(database, server=server, size=size, asked=asked)
    over = [cost for cost in costs if cost.over]
    print(f"{len(costs)} addresses; over {MOST_STATEMENTS} statements or {MOST_MS:.0f} ms: {len(over)}")
    for cost in over:
        print(cost)
    return bool(over)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=2_000_000)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--only", default="", help="addresses that contain this")
    parser.add_argument("--scene", choices=SCENES, help="this one alone")
    parser.add_argument("--dsn", help="a database that `benchmarks.history` has filled, with --server")
    parser.add_argument("--server", type=int, help="the process of its server")
    sys.exit(asyncio.run(run(parser.parse_args())))


if __name__ == "__main__":
    main()
