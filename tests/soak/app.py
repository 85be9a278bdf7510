"""What the replicas of a soak run: jobs that note their own beginnings and ends."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from piko import PikoApp
from tests.soak.sinks import Producer

app = PikoApp(name="soak")
_path = Path(os.environ["SOAK_NOTES"])
_producer = Producer(app, _path.parent) if "SOAK_SINKS" in os.environ else None
_notes = os.open(_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def _note(ctx: Any, what: str) -> None:
    window = ctx.get("data_interval")
    line = {
        "what": what,
        "job_id": ctx["job_id"],
        "run_id": ctx["run_id"],
        "attempt": ctx["attempt"],
        "scheduled": ctx["scheduled_time"].isoformat(),
        "window_start": None if window is None else window.start.isoformat(),
        "at": time.time(),
        "pid": os.getpid(),
    }
    os.write(_notes, (json.dumps(line) + "\n").encode())


def _block_if_asked() -> None:
    """Keep the event loop for as many seconds as the file `block` says; of all replicas one finds it."""
    order = _path.with_name(f"blocked-by-{os.getpid()}")
    with suppress(FileNotFoundError):
        _path.with_name("block").rename(order)
        time.sleep(float(order.read_text()))


async def _lingers_if_asked(ctx: Any) -> bool:
    """Take as many seconds as the file `linger-PID` says, as the first run here does; whether it did."""
    order = _path.with_name(f"linger-{os.getpid()}")
    with suppress(FileNotFoundError):
        seconds = float(order.read_text())
        order.unlink()
        said = _path.with_name("lingering")
        said.write_text(ctx["run_id"])
        said.rename(_path.with_name(f"lingers-{os.getpid()}"))
        await asyncio.sleep(seconds)
        return True
    return False


def _job(job_id: str, *, takes: tuple[float, float] = (0, 0.02), fails: float = 0.0, **options: Any) -> None:
    async def handler(ctx: Any, scheduled_time: Any) -> None:
        _note(ctx, "begin")
        _block_if_asked()
        try:
            lingered = await _lingers_if_asked(ctx)
            await asyncio.sleep(random.uniform(*takes))
            if _producer is not None:
                await _producer.write(ctx, scheduled_time)
            if not lingered and random.random() < fails:  # a test says how the one that lingers ends
                raise ValueError("as it happens")
        except BaseException:
            _note(ctx, "failed")
            raise
        _note(ctx, "done")

    app.job(job_id=job_id, **options)(handler)


for number in range(8):
    _job(f"tick-{number}")
_job("cron")
_job("flaky", fails=0.3, max_attempts=3)
_job("slow", takes=(1.5, 4.0))
_job("windows", stateful=True, fails=0.05)
