"""`executor = "replicas"` for runs that take no time: what processes record together, and what a run costs.

    python -m benchmarks.short_runs            # one process that starts its own; then 1, 2 and 4 that share
    python -m benchmarks.short_runs 2 --jobs 4000
    python -m benchmarks.short_runs 2 --before ../other-checkout     # beside another checkout, in turns

No-op jobs of one second, more than the processes can do, their due times spread over it in tenths. A run
counts when its outcome is committed, for the process that ran it. Processor time is user and system. That of
the leader is for everything that it does, decisions included; the other processes only run.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.harness.database_servers import DatabaseServer
from tests.harness.databases import TestDatabase
from tests.harness.reaper import Reaper
from tests.harness.waiting import wait_until_async

from benchmarks.database import durable_mariadb
from benchmarks.load import insert
from benchmarks.replica import JOBS, ROOT, running
from benchmarks.run_cost import processor_s
from piko import PikoApp

_RAMP_S = 5.0
_RECORDED = (
    "SELECT i.pid, COUNT(*) FROM job_run r JOIN runtime_instance i ON i.instance_id = r.instance_id "
    "WHERE r.state = 'SUCCESS' GROUP BY i.pid"
)
_LEADER = "SELECT i.pid FROM leader_lease l JOIN runtime_instance i ON i.instance_id = l.holder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one process did in a second: runs that it recorded, and seconds of its processor."""

    leads: bool
    runs: float
    processor_s: float

    def __str__(self) -> str:
        who = "leader" if self.leads else "other"
        cost = f"{self.processor_s / self.runs * 1e6:,.0f} µs each" if self.runs else "none"
        return f"{who} {self.runs:,.0f}/s, {self.processor_s:.0%} of a core, {cost}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """All counts at one moment; `at` is seconds by the database's clock."""

    at: float
    recorded: Mapping[int, int]
    processor: Mapping[int, float]


def make_app(jobs: int) -> PikoApp:
    """`jobs` jobs that do nothing."""
    app = PikoApp(name="benchmark")

    async def handler(_ctx: Any, _scheduled_time: datetime) -> None:
        pass

    for number in range(jobs):
        app.job(job_id=f"job-{number}")(handler)
    return app


async def measure(
    server: DatabaseServer,
    reaper: Reaper,
    *,
    code: Path,
    executor: str,
    processes: int,
    jobs: int,
    seconds: float,
) -> None:
    """Print a line for `processes` processes of the checkout `code`, and one for each of them."""
    database = await server.create_database()
    await insert(database.dsn, jobs, spread=True)
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        pids = [
            stack.enter_context(
                running(
                    database.dsn,
                    Path(folder) / "notes",
                    jobs=jobs,
                    takes_s=0,
                    reaper=reaper,
                    settings={"executor": executor},
                    name=f"replica-{number}",
                    app="benchmarks.short_runs:app",
                    code=code,
                )
            ).pid
            for number in range(processes)
        ]

        async def all_run() -> bool:
            return len(await database.execute(_RECORDED)) == processes

        await wait_until_async(all_run, what="a run of each process", interval=0.2)
        await asyncio.sleep(_RAMP_S)
        before = await _look(database, server, pids)
        await asyncio.sleep(seconds)
        after = await _look(database, server, pids)
        leader = int((await database.execute(_LEADER))[0][0])
    took = after.at - before.at
    shares = [
        Share(
            leads=pid == leader,
            runs=(after.recorded.get(pid, 0) - before.recorded.get(pid, 0)) / took,
            processor_s=(after.processor[pid] - before.processor[pid]) / took,
        )
        for pid in pids
    ]
    runs = sum(share.runs for share in shares)
    theirs = (after.processor[server.pid] - before.processor[server.pid]) / took
    ours = sum(share.processor_s for share in shares)
    print(
        f"{code.name:<10}  executor {executor:<8}  {processes} processes  {runs:>6,.0f} runs/s  "
        f"{ours / runs * 1e6:>6,.0f} µs of all processes a run  "
        f"database {theirs / runs * 1e6:,.0f} µs, {theirs:.0%} of a core",
        flush=True,
    )
    for share in shares if processes > 1 else ():
        print(f"    {share}", flush=True)


async def _look(database: TestDatabase, server: DatabaseServer, pids: list[int]) -> Moment:
    rows = await database.execute(_RECORDED)
    return Moment(
        at=float((await database.execute("SELECT UNIX_TIMESTAMP(NOW(6))"))[0][0]),
        recorded={int(pid): int(count) for pid, count in rows},
        processor={pid: processor_s(pid) for pid in (*pids, server.pid)},
    )


async def report(
    counts: Sequence[int], codes: Sequence[Path], *, jobs: int, seconds: float, repeats: int
) -> None:
    reaper = Reaper()
    try:
        async with durable_mariadb() as server:
            for executor, processes in repeats * [("leader", 1), *(("replicas", count) for count in counts)]:
                for code in codes:
                    await measure(
                        server,
                        reaper,
                        code=code,
                        executor=executor,
                        processes=processes,
                        jobs=jobs,
                        seconds=seconds,
                    )
    finally:
        reaper.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("processes", nargs="*", type=int, default=[1, 2, 4])
    parser.add_argument("--jobs", type=int, default=6000)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--before", type=Path, help="another checkout, to be compared with")
    options = parser.parse_args()
    codes = [*([options.before.resolve()] if options.before else []), ROOT]
    asyncio.run(
        report(options.processes, codes, jobs=options.jobs, seconds=options.seconds, repeats=options.repeats)
    )


if __name__ == "__main__":
    main()

if JOBS in os.environ:  # a replica that `running` has started
    app = make_app(int(os.environ[JOBS]))
