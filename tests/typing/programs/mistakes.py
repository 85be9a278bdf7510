"""Mistakes that a type checker finds: each line that ends in `# error` is one, and no other line is."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

from piko import JobContext, PikoApp, TypedSink, WriteIntent, on

app = PikoApp(name="mistaken")


class SweepConfig(BaseModel):
    concurrency: int = 10


@app.job(schema=SweepConfig)
async def sweep(ctx: JobContext[SweepConfig], scheduled_time: datetime) -> None:
    print(ctx.config.concurency)  # error
    number: str = ctx.attempt  # error
    print(number, ctx.data_interval.start)  # error


class OtherConfig(BaseModel):
    region: str = "eu"


@app.job(schema=OtherConfig)  # error
async def of_another(ctx: JobContext[SweepConfig], scheduled_time: datetime) -> None:
    ctx.record("rows")  # error
    await ctx.write("prices")  # error


@app.job  # error
def blocking(ctx: JobContext, scheduled_time: datetime) -> None:
    print("not async")


@app.job(job_id=7)  # error
async def numbered(ctx: JobContext, scheduled_time: datetime) -> None:
    print("a number is no id")


class Prices(TypedSink):
    @on("Price")  # error
    async def write(self, prices: list[str]) -> None:
        print(prices)


WriteIntent(sink="prices", payload={})  # error
