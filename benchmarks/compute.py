"""What it costs to hand work to other processes, beside doing it by hand.

Run it with `python benchmarks/compute.py`; with `--dask` also on a local Dask cluster of two workers (needs
`piko[dask]`). Each pair is measured in turn, several times, in the same process; the best of each counts,
since whatever else the machine does can only make a run slower.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

from piko.compute.cpu import CpuManager
from piko.compute.processors import usable_processors
from piko.observability.metrics import Metrics

ITEMS = 10_000
ROUNDS = 30
CHUNK_SIZES = (50, 200, 500, 1000, 2500, 5000)


def tiny(number: int) -> int:
    """As little as an item can be."""
    return number * number


def small(number: int) -> int:
    """About ten microseconds."""
    return sum(range(number % 400))


async def best(*calls: Callable[[], Awaitable[object]], rounds: int = ROUNDS) -> list[float]:
    """The least seconds of each; they take turns, so that they meet the same noise."""
    seconds: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, taken in zip(calls, seconds, strict=True):
            begun = time.perf_counter()
            await call()
            taken.append(time.perf_counter() - begun)
    return [min(taken) for taken in seconds]


async def processes(workers: int) -> None:
    manager = CpuManager(metrics=Metrics())
    manager.use_processes(workers=workers)
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:
        for name, fn in (("tiny", tiny), ("small", small)):
            expected = [fn(number) for number in range(ITEMS)]

            async def by_hand(size: int, fn: Callable[[int], int] = fn) -> list[int]:
                return await loop.run_in_executor(
                    None, lambda: list(pool.map(fn, range(ITEMS), chunksize=size))
                )

            async def by_piko(fn: Callable[[int], int] = fn) -> list[int]:
                return await manager.map_reduce(fn, range(ITEMS))

            assert await by_hand(500) == await by_piko() == expected
            sizes = await best(*[partial(by_hand, size) for size in CHUNK_SIZES], rounds=5)
            tuned = min(zip(sizes, CHUNK_SIZES, strict=True))[1]
            theirs, ours = await best(partial(by_hand, tuned), by_piko)
            print(
                f"{ITEMS:,} {name} items, {workers} workers: map_reduce {ITEMS / ours:,.0f}/s, "
                f"ProcessPoolExecutor.map(chunksize={tuned}) {ITEMS / theirs:,.0f}/s: {theirs / ours:.0%}"
            )
        latencies: tuple[list[float], list[float]] = ([], [])
        for number in range(500):
            begun = time.perf_counter()
            await manager.submit(tiny, number)
            latencies[0].append(time.perf_counter() - begun)
            begun = time.perf_counter()
            await loop.run_in_executor(pool, tiny, number)
            latencies[1].append(time.perf_counter() - begun)
        print(
            f"submit, one at a time, median: {statistics.median(latencies[0]) * 1e6:,.0f} µs; "
            f"run_in_executor {statistics.median(latencies[1]) * 1e6:,.0f} µs"
        )
    await manager.stop()


async def dask() -> None:
    from distributed import Client, LocalCluster

    async with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, asynchronous=True
        ) as cluster,
        Client(cluster, asynchronous=True) as client,
    ):
        manager = CpuManager(metrics=Metrics())
        manager.use_dask(cluster.scheduler_address)

        async def by_hand(size: int | None) -> list[int]:
            if size is None:
                return list(await client.gather(client.map(tiny, range(ITEMS), pure=False)))
            parts = [range(start, min(start + size, ITEMS)) for start in range(0, ITEMS, size)]
            done = await client.gather(
                client.map(lambda part: [tiny(number) for number in part], parts, pure=False)
            )
            return [result for part in done for result in part]

        async def by_piko() -> list[int]:
            return await manager.map_reduce(tiny, range(ITEMS))

        assert await by_piko() == await by_hand(500) == [tiny(number) for number in range(ITEMS)]
        ours, chunked = await best(by_piko, lambda: by_hand(1000), rounds=5)
        [plain] = await best(lambda: by_hand(None), rounds=1)
        print(
            f"{ITEMS:,} tiny items on Dask, 2 workers: map_reduce {ITEMS / ours:,.0f}/s, client.map "
            f"{ITEMS / plain:,.0f}/s, client.map over parts of 1,000 {ITEMS / chunked:,.0f}/s"
        )
        await manager.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dask", action="store_true", help="measure Dask too")
    parser.add_argument("--workers", type=int, default=usable_processors())
    options = parser.parse_args()
    asyncio.run(processes(options.workers))
    if options.dask:
        asyncio.run(dask())
