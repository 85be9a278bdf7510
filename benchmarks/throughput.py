"""Completed runs per second, durably recorded, by one process: Piko, and beside it others with no-op jobs.

    python -m benchmarks.throughput                # 5 times each
    python -m benchmarks.throughput --repeats 1 --jobs 5000

Piko has more due than it can do: `--jobs` no-op jobs of one second, their due times spread over it. The peers
drain a full queue, see `benchmarks.peers`. A queue's work is one batched claim and one batched end; Piko's is
that, a lock that makes the due time its own, the fence of its leadership, the job's cursor and its summary,
and two lines of log. All databases flush each COMMIT to disk, on the machine that the processes run on.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys

from tests.harness.locate import MissingToolError

from benchmarks.database import durable_mariadb
from benchmarks.load import measured
from benchmarks.peers import measure_peers, print_peers

_QUEUED = 20_000


async def compare(*, jobs: int, seconds: float, repeats: int) -> None:
    """Print a line for Piko and for each peer."""
    loads = [await measured(jobs, seconds=seconds, spread=True) for _ in range(repeats)]
    rates = sorted(load.recorded_per_s for load in loads)
    landed = statistics.median(load.landed / load.due for load in loads)
    print(
        f"{'Piko':<22}{statistics.median(rates):>8,.0f} runs/s   {rates[0]:,.0f} to {rates[-1]:,.0f}; "
        f"{landed:.0%} of what {jobs:,} jobs of 1 s had due; MariaDB",
        flush=True,
    )
    async with durable_mariadb() as server:
        peers = await asyncio.to_thread(measure_peers, mariadb_dsn=server.dsn, jobs=_QUEUED, repeats=repeats)
    print_peers(peers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--jobs", type=int, default=6000)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    try:
        asyncio.run(compare(jobs=options.jobs, seconds=options.seconds, repeats=options.repeats))
    except MissingToolError as missing:
        sys.exit(f"throughput: {missing}")


if __name__ == "__main__":
    main()
