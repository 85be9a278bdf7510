"""Completed runs per second, durably recorded, by one process: Piko, and beside it others with no-op jobs.

    python -m benchmarks.throughput                # 5 times each
    python -m benchmarks.throughput --repeats 1 --jobs 5000 --mysql

Piko has more due than it can do: `--jobs` no-op jobs of one second, their due times spread over it; once on
MariaDB, and with `--mysql` on MySQL as well. The peers drain a full queue, see `benchmarks.peers`. Processor
time is that of the process, user and system. A queue's work is one batched claim and one batched end; Piko's
is that, a lock that makes the due time its own, the fence of its leadership, the job's cursor, its summary,
and two lines of log. All databases flush each COMMIT to disk, on the machine that the processes run on.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import statistics
import sys

from tests.harness.database_servers import ServerKind
from tests.harness.locate import MissingToolError

from benchmarks.database import durable_mariadb
from benchmarks.load import measured
from benchmarks.peers import measure_peers, print_line, print_peers

_QUEUED = 20_000


async def compare(*, jobs: int, seconds: float, repeats: int, queued: int, kinds: list[ServerKind]) -> None:
    """Print a line for Piko on each kind of database, and for each peer."""
    for kind in kinds:
        loads = [await measured(jobs, seconds=seconds, spread=True, kind=kind) for _ in range(repeats)]
        rates = sorted(load.recorded_per_s for load in loads)
        landed = statistics.median(load.landed / load.due for load in loads)
        print_line(
            f"Piko {importlib.metadata.version('piko')}",
            statistics.median(rates),
            statistics.median(load.cpu / load.recorded_per_s * 1e6 for load in loads),
            f"{rates[0]:,.0f} to {rates[-1]:,.0f}; {landed:.0%} of what {jobs:,} jobs of 1 s had due; "
            f"{'MySQL' if kind == 'mysql' else 'MariaDB'}",
        )
    async with durable_mariadb() as server:
        peers = await asyncio.to_thread(measure_peers, mariadb_dsn=server.dsn, jobs=queued, repeats=repeats)
    print_peers(peers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--jobs", type=int, default=6000)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--queued", type=int, default=_QUEUED, help="jobs that the queues drain")
    parser.add_argument("--mysql", action="store_true", help="Piko on MySQL as well")
    options = parser.parse_args()
    try:
        asyncio.run(
            compare(
                jobs=options.jobs,
                seconds=options.seconds,
                repeats=options.repeats,
                queued=options.queued,
                kinds=["mariadb", "mysql"] if options.mysql else ["mariadb"],
            )
        )
    except MissingToolError as missing:
        sys.exit(f"throughput: {missing}")


if __name__ == "__main__":
    main()
