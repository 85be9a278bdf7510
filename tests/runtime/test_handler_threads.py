"""`asyncio.to_thread` in handlers: as many threads as the setting says, and none of them holds up a stop."""

from __future__ import annotations

from tests.harness.databases import TestDatabase
from tests.harness.waiting import wait_until_async
from tests.runtime.replicas import Replicas, runs, schedule, until_runs

APP = """
import asyncio, threading, time
from piko import PikoApp

app = PikoApp(name="trial")
together = threading.Barrier(12)

@app.job
async def many(ctx, scheduled_time):
    # Each waits for all the others: it ends only where all run at once.
    await asyncio.gather(*(asyncio.to_thread(together.wait, 600) for _ in range(12)))
    print("twelve at once", flush=True)

@app.job(timeout_s=0.5)
async def endless(ctx, scheduled_time):
    await asyncio.to_thread(time.sleep, 3600)

@app.job
async def quick(ctx, scheduled_time):
    pass

if __name__ == "__main__":
    app.run()
"""


async def test_twelve_calls_run_at_once_whatever_the_number_of_processors(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    database = migrated_mariadb
    replicas.write(APP)
    replica = replicas.start(database.dsn, "app.py")
    await replica.until_ready()
    await schedule(database, "many", '{"seconds": 5}')
    replica.process.wait_for_line("twelve at once")
    assert replica.process.terminate() == 0


async def test_more_calls_than_threads_wait_and_are_counted_and_a_stop_does_not_wait_for_them(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    database = migrated_mariadb
    replicas.write(APP)
    replica = replicas.start(database.dsn, "app.py", environment={"PIKO_HANDLER_THREADS": "2"})
    await replica.until_ready()
    await schedule(database, "endless")
    await until_runs(database, "endless", 3, state="TIMEOUT")
    await wait_until_async(
        lambda: "piko_handler_thread_calls 2.0" in replica.get("/metrics")[1],
        what="two calls that go on; those that waited for a thread were given up with their runs",
    )
    before = len(await runs(database, "quick"))
    await schedule(database, "quick")
    await until_runs(database, "quick", before + 2)
    await replica.until_ready()
    assert replica.process.terminate() == 0
    replica.process.wait_for_line("tasks_left_behind")
