"""Parts that run in the background, and what happens when one fails.

A part is an object with a `name` and a `run()` that goes on until it is cancelled. A part that raises is
started again after a pause that grows; meanwhile its name and error are in `failing`, which readiness
shows, and a metric counts it. A part never fails in silence, and never takes its neighbours down.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from piko.errors import PikoError
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.text import error_text

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 15.0
_SETTLED_S = 5.0

log = get_logger(__name__)


class Part(Protocol):
    """Something that runs in the background."""

    @property
    def name(self) -> str: ...

    async def run(self) -> None: ...


class Supervisor:
    """Keeps parts running."""

    def __init__(self, *, metrics: Metrics) -> None:
        self._metrics = metrics
        self.failing: dict[str, str] = {}

    async def keep(self, part: Part) -> None:
        """Run `part`, again and again where it fails, until cancelled or until it returns."""
        pause = _FIRST_PAUSE_S
        while True:
            try:
                await self._watch(part)
            except Exception as error:
                if part.name not in self.failing:
                    pause = _FIRST_PAUSE_S
                self.failing[part.name] = error_text(error)
                self._metrics.part_restarts.labels(part.name).inc()
                log.error(
                    "part_failed",
                    part=part.name,
                    error=self.failing[part.name],
                    again_in_s=pause,
                    exc_info=None if isinstance(error, PikoError) else error,
                )
            else:
                self.failing.pop(part.name, None)
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    async def _watch(self, part: Part) -> None:
        """Run `part`; once it has run for a while it no longer counts as failing."""
        task = asyncio.create_task(_contained(part), name=part.name)
        try:
            done, _ = await asyncio.wait({task}, timeout=_SETTLED_S)
            if not done:
                self.failing.pop(part.name, None)
            await task
        except asyncio.CancelledError:
            ourselves = asyncio.current_task()
            if task.cancelled() and ourselves is not None and not ourselves.cancelling():
                raise RuntimeError("something within it was cancelled, and so it ended") from None
            raise
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


async def _contained(part: Part) -> None:
    """Run `part`; a `SystemExit` out of somebody's sink or model is a failure of it, and ends no process."""
    try:
        await part.run()
    except (Exception, asyncio.CancelledError):
        raise
    except BaseException as error:
        raise RuntimeError(error_text(error)) from error
