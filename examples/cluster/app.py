"""The demonstration in the runtime image: two jobs that need nothing but Piko."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from datetime import UTC, datetime

from pydantic import BaseModel, Field

from piko import JobContext, PikoApp

logger = logging.getLogger(__name__)

app = PikoApp(name="cluster-demo")


class Greeting(BaseModel):
    """What `kubectl apply` of a PikoJobConfig may set."""

    name: str = Field("cluster", min_length=1, max_length=100)
    times: int = Field(1, ge=1, le=10)


@app.job(schema=Greeting)
async def greet(ctx: JobContext[Greeting], scheduled_time: datetime) -> None:
    """Says hello, and how late it was."""
    late = (datetime.now(UTC) - scheduled_time).total_seconds()
    for _ in range(ctx.config.times):
        logger.info("hello %s, %.0f ms after the due time", ctx.config.name, late * 1000)


@app.job
async def digest(ctx: JobContext, scheduled_time: datetime) -> None:
    """Hashes 64 MiB in steps, and lets other jobs run in between."""
    block, state = bytes(1 << 20), hashlib.sha256(scheduled_time.isoformat().encode())
    for _ in range(64):
        await asyncio.to_thread(state.update, block)
    logger.info("run %s made %s of 64 MiB", ctx.run_id, state.hexdigest()[:16])


if __name__ == "__main__":
    app.run()
