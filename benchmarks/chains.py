"""How fast one job runs the windows that it has missed, on the leader and with every replica.

    python -m benchmarks.chains --seconds 8 --times 2

Each window begins when the one before is recorded. Two replicas, a handler that does nothing, and a MariaDB
that flushes each COMMIT; the two executors alternate, so that a busy machine is busy for both.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.harness.database_servers import DatabaseServer
from tests.harness.ports import free_port
from tests.harness.processes import ChildProcess
from tests.harness.reaper import Reaper
from tests.harness.waiting import wait_until_async

from benchmarks.database import durable_mariadb
from piko import PikoApp
from piko.store.schema.migrate import upgrade

_PATIENCE_S = 90.0


async def windows_per_second(
    server: DatabaseServer, reaper: Reaper, *, executor: str, seconds: float
) -> float:
    """Windows that succeed in a second, of one job with an endless backlog."""
    database = await server.create_database()
    await upgrade(database.dsn)
    await database.execute(
        "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr, last_data_time) VALUES "
        "('chain', 'interval', '{\"seconds\": 1}', UTC_TIMESTAMP() - INTERVAL 1 DAY)"
    )

    async def done() -> int:
        ((count,),) = await database.execute("SELECT COUNT(*) FROM job_run WHERE state = 'SUCCESS'")
        return int(count)

    async def both_live() -> bool:
        ((count,),) = await database.execute("SELECT COUNT(*) FROM runtime_instance")
        return int(count) == 2 and await done() > 5

    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        for name in ("one", "two"):
            place = Path(folder) / name
            place.mkdir()
            environment = {
                **os.environ,
                "PYTHONPATH": str(Path(__file__).parents[1]),
                "PIKO_MYSQL_DSN": database.dsn,
                "PIKO_HTTP_PORT": str(free_port()),
                "PIKO_EXECUTOR": executor,
                "PIKO_SPOOL_DIR": str(place),
            }
            process = ChildProcess(
                [sys.executable, "-m", "benchmarks.chains", "--replica"],
                name=name,
                log=place / "log",
                reaper=reaper,
                environment=environment,
                cwd=place,
            )
            stack.callback(process.kill)
        await wait_until_async(both_live, timeout=_PATIENCE_S, what="two replicas", interval=0.2)
        began, before = time.monotonic(), await done()
        await asyncio.sleep(seconds)
        return (await done() - before) / (time.monotonic() - began)


async def measure(*, seconds: float, times: int) -> None:
    found: dict[str, list[float]] = {"leader": [], "replicas": []}
    reaper = Reaper()
    try:
        async with durable_mariadb() as server:
            for _ in range(times):
                for executor, rates in found.items():
                    rate = await windows_per_second(server, reaper, executor=executor, seconds=seconds)
                    rates.append(rate)
                    print(f"{executor}: {rate:.1f} windows/s", flush=True)
    finally:
        reaper.close()
    medians = {executor: statistics.median(rates) for executor, rates in found.items()}
    print(f"replicas / leader: {medians['replicas'] / medians['leader']:.2f}")


def replica() -> None:
    app = PikoApp(name="chains")

    @app.job("chain", stateful=True)
    async def chain(_ctx: Any, scheduled_time: Any) -> None:
        pass

    app.run()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--replica", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.replica:
        replica()
    else:
        asyncio.run(measure(seconds=options.seconds, times=options.times))


if __name__ == "__main__":
    main()
