"""A program that uses each public name, annotated as a team with a strict type checker writes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel

from piko import (
    BackfillPolicy,
    DataInterval,
    JobContext,
    PikoApp,
    ResultSink,
    TypedSink,
    WriteIntent,
    autodiscover,
    on,
    resource,
)
from piko.core.resource import AppContext
from piko.core.types import TriggerType
from piko.errors import ComputeError, InputError, PikoError, TransientError, WorkerLostError
from piko.persistence.sinks import JsonLinesSink

app = PikoApp(name="typed")
api_app = app.api_app


class SweepConfig(BaseModel):
    concurrency: int = 10
    region: str = "eu"


class Price(BaseModel):
    symbol: str
    value: float


# ---- resources ------------------------------------------------------------------------------------


class Connection:
    async def fetch(self, query: str) -> list[tuple[str, float]]:
        return [(query, 1.0)]


@resource
class Database:
    """Made for each run."""

    @asynccontextmanager
    async def acquire(self, ctx: JobContext) -> AsyncGenerator[Connection, None]:
        yield Connection()


class Warehouse:
    """Made once, with an argument."""

    def __init__(self, name: str) -> None:
        self.name = name

    @asynccontextmanager
    async def acquire(self, ctx: JobContext[SweepConfig]) -> AsyncGenerator[Connection, None]:
        yield Connection()


@resource(scope="app")
@asynccontextmanager
async def shared(ctx: AppContext) -> AsyncGenerator[Connection, None]:
    yield Connection()


@resource
@asynccontextmanager
async def plain() -> AsyncGenerator[Connection, None]:
    yield Connection()


# ---- sinks ----------------------------------------------------------------------------------------


class Printed(ResultSink):
    durability = "spooled"
    batch_size = 100

    async def write_batch(self, batch: list[WriteIntent]) -> None:
        for intent in batch:
            print(intent.idempotency_key, intent.payload)

    async def close(self) -> None:
        print("closed")


class Prices(TypedSink):
    @on(Price)
    async def write(self, prices: Sequence[Price]) -> None:
        print([price.symbol for price in prices])


app.writer.register_sink(Printed("printed", linger_s=0.1))
app.writer.register_sink(Prices("prices"))
app.writer.register_sink(JsonLinesSink("lines", path="prices.jsonl"))

# ---- jobs -----------------------------------------------------------------------------------------


@app.job
async def bare(ctx: JobContext, scheduled_time: datetime) -> None:
    print(ctx["run_id"], ctx.attempt + 1, sorted(ctx), scheduled_time)


@app.job(
    job_id="sweep",
    schema=SweepConfig,
    resources={"database": Database, "warehouse": Warehouse("orders"), "shared": shared, "plain": plain},
    stateful=True,
    backfill_policy=BackfillPolicy.SKIP,
    timeout_s=60,
    max_attempts=3,
)
async def sweep(
    ctx: JobContext[SweepConfig],
    scheduled_time: datetime,
    database: Connection,
    warehouse: Connection,
    shared: Connection,
    plain: Connection,
) -> int:
    window: DataInterval | None = ctx.data_interval
    length: timedelta = timedelta() if window is None else window.duration
    upper: str = ctx.config.region.upper()
    if ctx.trigger_type is TriggerType.RETRY:
        print(length, upper)
    rows = await database.fetch("select")
    intents = [
        WriteIntent(
            sink="prices",
            key=symbol,
            payload=Price(symbol=symbol, value=value),
            job_id=ctx.job_id,
            run_id=ctx.run_id,
            scheduled_time=scheduled_time,
        )
        for symbol, value in rows[: ctx.config.concurrency]
    ]
    await app.writer.enqueue_many(intents)
    for symbol, value in rows:
        await ctx.write("prices", symbol, Price(symbol=symbol, value=value))
    ctx.log.info("rows_read", rows=len(rows))
    ctx.progress(len(rows), total=len(rows))
    ctx.record(rows=len(rows))
    return len(intents)


def square(number: int) -> int:
    return number * number


def add(left: int, right: int) -> int:
    return left + right


@app.job("compute")
async def compute(ctx: JobContext, scheduled_time: datetime) -> None:
    try:
        one: int = await app.cpu_manager.submit(square, 3)
        total: int = await app.cpu_manager.map_reduce(square, range(10), reduce_fn=add)
    except WorkerLostError as error:
        print(error.index)
    except ComputeError:
        raise
    else:
        print(one, total, ctx.idempotency_key)


def from_mapping(ctx: Mapping[str, Any]) -> str:
    """A context goes where a mapping is asked for."""
    return str(ctx["run_id"])


def told(error: PikoError) -> str:
    if isinstance(error, TransientError):
        return "later"
    return "mend it" if isinstance(error, InputError) else "neither"


async def embedded() -> None:
    async with app.running() as replica:
        print(replica.readiness.ready, replica.instance.host)
        replica.stop()
        await replica.ended()


if __name__ == "__main__":
    found: list[str] = autodiscover("jobs_of_ours")
    print(found)
    asyncio.run(embedded())
    app.run()
