"""Recipes, each a small job of its own: `piko dev examples/recipes`.

A shop is asked for its prices, many requests at once; results go through sinks to `out/`; and the processors
check what came. The shop is part of the example, so that nothing is needed from the network.
"""

from __future__ import annotations

import asyncio
import json
import logging
import urllib.request
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from piko import BackfillPolicy, JobContext, PikoApp, TypedSink, on, resource
from piko.persistence.sinks import JsonLinesSink
from price_list import serve

OUT = Path(__file__).parent / "out"
OUT.mkdir(exist_ok=True)
PAGES = range(20)

logger = logging.getLogger("recipes")

app = PikoApp(name="recipes")
api_app = app.api_app


# ---- what jobs are given ---------------------------------------------------------------------------


@resource(scope="app")
@asynccontextmanager
async def shop() -> AsyncGenerator[str, None]:
    """The address of a shop that lives as long as the app."""
    async with serve() as address:
        yield address


@resource
class Connection:
    """A resource of a run: opened before its handler, closed after it, whatever happens."""

    @asynccontextmanager
    async def acquire(self, ctx: JobContext) -> AsyncGenerator[list[str], None]:
        notes: list[str] = []
        yield notes
        logger.info("%s noted %d things", ctx.job_id, len(notes))


# ---- where results go ------------------------------------------------------------------------------


class Price(BaseModel):
    page: int
    cents: int


class Refund(Price):
    reason: str


class Ledger(TypedSink):
    """Writes each model in its own way; a `Refund` is a `Price`, and its own method comes first."""

    @on(Price)
    async def prices(self, models: list[Price]) -> None:
        _append("prices.txt", [f"{price.page} {price.cents}" for price in models])

    @on(Refund)
    async def refunds(self, models: list[Refund]) -> None:
        _append("refunds.txt", [f"{refund.page} {refund.reason}" for refund in models])


app.writer.register_sink(JsonLinesSink("pages", path=OUT / "pages.jsonl", durability="spooled"))
app.writer.register_sink(Ledger("ledger"))


# ---- jobs ------------------------------------------------------------------------------------------


class FetchConfig(BaseModel):
    at_once: int = Field(5, ge=1, le=100, description="requests that are open at the same time")
    patience_s: float = Field(5.0, gt=0, description="seconds that one request may take")


@app.job(schema=FetchConfig, resources={"shop": shop, "notes": Connection}, timeout_s=60)
async def fetch_pages(
    ctx: JobContext[FetchConfig], scheduled_time: datetime, shop: str, notes: list[str]
) -> None:
    """Many requests with a bound and a timeout each; a blocking call goes to a thread."""
    places = asyncio.Semaphore(ctx.config.at_once)

    async def fetch(page: int) -> None:
        async with places, asyncio.timeout(ctx.config.patience_s):
            price = await asyncio.to_thread(_get, f"{shop}/pages/{page}")
        notes.append(f"page {page}")
        await ctx.write("pages", str(page), price)

    async with asyncio.TaskGroup() as group:
        for page in PAGES:
            group.create_task(fetch(page))
    logger.info("fetched %d pages", len(PAGES))


@app.job(resources={"shop": shop})
async def compare_pages(ctx: JobContext, scheduled_time: datetime, shop: str) -> None:
    """Fan out, wait for all, put together."""
    first, second, third = await asyncio.gather(
        *(asyncio.to_thread(_get, f"{shop}/pages/{page}") for page in (1, 2, 3))
    )
    cheapest = min((first, second, third), key=lambda price: price["cents"])
    logger.info("cheapest page: %d", cheapest["page"])


@app.job
async def work_through(ctx: JobContext, scheduled_time: datetime) -> None:
    """One producer, three consumers, and a queue that makes the fast wait for the slow."""
    queue: asyncio.Queue[int | None] = asyncio.Queue(maxsize=4)

    async def produce() -> None:
        for page in PAGES:
            await queue.put(page)
        for _ in range(3):
            await queue.put(None)

    async def consume() -> None:
        while (page := await queue.get()) is not None:
            payload = (
                Refund(page=page, cents=1, reason="late") if page % 10 == 9 else Price(page=page, cents=page)
            )
            await ctx.write("ledger", str(page), payload)

    async with asyncio.TaskGroup() as group:
        group.create_task(produce())
        for _ in range(3):
            group.create_task(consume())
    logger.info("worked through %d pages", len(PAGES))


@app.job(resources={"shop": shop}, timeout_s=60)
async def check_pages(ctx: JobContext, scheduled_time: datetime, shop: str) -> None:
    """What waits runs on the event loop, what computes in worker processes."""
    pages = await asyncio.gather(*(asyncio.to_thread(_get, f"{shop}/pages/{page}") for page in PAGES))
    cents = [page["cents"] for page in pages]
    total = await app.cpu_manager.map_reduce(digits_of, cents, reduce_fn=lambda left, right: left + right)
    largest = await app.cpu_manager.submit(digits_of, max(cents))
    logger.info("digits in all: %d, of the largest: %d", total, largest)


def digits_of(cents: int) -> int:
    return len(str(2**cents))


@app.job(stateful=True, backfill_policy=BackfillPolicy.CATCH_UP, max_attempts=3)
async def close_the_books(ctx: JobContext, scheduled_time: datetime) -> None:
    """Each window once, in order; stop the app for a while, and it catches up what was missed."""
    window = ctx.data_interval
    assert window is not None
    logger.info("books closed from %s to %s", window.start.isoformat(), window.end.isoformat())


@app.job
async def opening_day(ctx: JobContext, scheduled_time: datetime) -> None:
    """Its schedule is a date: it fires once, or is recorded as missed."""
    logger.info("opened at %s", scheduled_time.isoformat())


def _get(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=10) as answer:
        return json.load(answer)


def _append(name: str, lines: list[str]) -> None:
    with (OUT / name).open("a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


if __name__ == "__main__":
    app.run()
