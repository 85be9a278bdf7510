"""Parts that run in the background, and what happens when one fails.

A part is an object with a `name` and a `run()` that goes on until it is cancelled. A part that raises is
started again after a pause that grows; meanwhile its name and error are in `failing`, which readiness
shows, and a metric counts it. A part never fails in silence, and never takes its neighbours down. One that
returns without being ended is in `ended`, which liveness shows: only a new process helps.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from prometheus_client import Counter

from piko.background.backoff import Backoff
from piko.background.waiting import end
from piko.errors import PikoError
from piko.observability.logs import get_logger
from piko.text import error_text

_BACKOFF = Backoff(first_s=0.2, longest_s=15.0)
_SETTLED_S = 5.0

log = get_logger(__name__)


class Part(Protocol):
    """Something that runs in the background."""

    @property
    def name(self) -> str: ...

    async def run(self) -> None: ...


class Supervisor:
    """Keeps parts running.

    `restarts` counts failures by the name of the part. A part that has run for `settled_s` seconds no longer
    counts as failing.
    """

    def __init__(
        self, *, restarts: Counter, backoff: Backoff = _BACKOFF, settled_s: float = _SETTLED_S
    ) -> None:
        self._restarts = restarts
        self._backoff = backoff
        self._settled_s = settled_s
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.failing: dict[str, str] = {}
        """What failed last, by the name of the part."""

    @property
    def ended(self) -> list[str]:
        """Parts that returned without being ended. May be read from any thread."""
        return [name for name, task in list(self._tasks.items()) if task.done()]

    def start(self, part: Part) -> None:
        """Keep `part` running in the background, until `stop`."""
        self._tasks[part.name] = asyncio.create_task(self.keep(part), name=part.name)

    async def stop(self, name: str) -> None:
        """Cancel the part called `name`, if it runs, and wait for its end."""
        if (task := self._tasks.pop(name, None)) is not None:
            await end(task)

    async def stop_all(self) -> None:
        """Cancel what still runs, one part after the other: the last that was started is the first."""
        for name in reversed(list(self._tasks)):
            await self.stop(name)

    async def keep(self, part: Part) -> None:
        """Run `part`, again and again where it fails, until cancelled or until it returns."""
        failures = 0
        while True:
            try:
                await self._watch(part)
            except Exception as error:
                failures = failures + 1 if part.name in self.failing else 1
                self.failing[part.name] = error_text(error)
                self._restarts.labels(part.name).inc()
                pause_s = self._backoff.pause_s(failures)
                log.error(
                    "part_failed",
                    part=part.name,
                    error=self.failing[part.name],
                    again_in_s=pause_s,
                    exc_info=None if isinstance(error, PikoError) else error,
                )
            else:
                self.failing.pop(part.name, None)
                return
            await asyncio.sleep(pause_s)

    async def _watch(self, part: Part) -> None:
        """Run `part`; once it has run for a while it no longer counts as failing."""
        task = asyncio.create_task(_contained(part), name=part.name)
        try:
            done, _ = await asyncio.wait({task}, timeout=self._settled_s)
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
