"""`executor = "replicas"`: how capacity grows with replicas, for jobs that wait for something else.

    python -m benchmarks.capacity            # 1, 2 and 4 replicas
    python -m benchmarks.capacity 1 3

Each run waits for half a second; a replica runs 50 at once, so that it can do 100 a second. More are due than
all replicas together can do.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from tests.harness.database_servers import DatabaseServer
from tests.harness.reaper import Reaper
from tests.harness.waiting import wait_until_async

from benchmarks.database import durable_mariadb
from benchmarks.load import insert
from benchmarks.replica import running, starts

_AT_ONCE = 50
_TAKES_S = 0.5
_JOBS = 600
_RAMP_S = 5.0


async def capacity(
    server: DatabaseServer, reaper: Reaper, *, replicas: int, seconds: float
) -> dict[int, float]:
    """Runs started a second by each of `replicas` replicas."""
    database = await server.create_database()
    await insert(database.dsn, _JOBS, spread=True)
    settings = {"executor": "replicas", "max_concurrent_runs": str(_AT_ONCE)}
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        notes = Path(folder) / "notes"
        notes.touch()
        for number in range(replicas):
            stack.enter_context(
                running(
                    database.dsn,
                    notes,
                    jobs=_JOBS,
                    takes_s=_TAKES_S,
                    reaper=reaper,
                    settings=settings,
                    name=f"replica-{number}",
                )
            )
        await wait_until_async(
            lambda: len({start.pid for start in starts(notes)}) == replicas, what="all to run"
        )
        await asyncio.sleep(_RAMP_S)
        begin = time.time()
        await asyncio.sleep(seconds)
        end = time.time()
        within = Counter(start.pid for start in starts(notes) if begin <= start.at < end)
    return {pid: count / (end - begin) for pid, count in within.items()}


async def report(counts: list[int], *, seconds: float) -> None:
    reaper = Reaper()
    try:
        async with durable_mariadb() as server:
            for replicas in counts:
                found = await capacity(server, reaper, replicas=replicas, seconds=seconds)
                most = replicas * _AT_ONCE / _TAKES_S
                shares = " ".join(f"{rate:.0f}" for rate in sorted(found.values(), reverse=True))
                print(
                    f"{replicas} replicas  {sum(found.values()):,.0f} runs/s of {most:,.0f} possible "
                    f"({sum(found.values()) / most:.0%})  each: {shares}",
                    flush=True,
                )
    finally:
        reaper.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("replicas", nargs="*", type=int, default=[1, 2, 4])
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    asyncio.run(report(options.replicas, seconds=options.seconds))


if __name__ == "__main__":
    main()
