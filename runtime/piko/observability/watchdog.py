"""Detects a blocked event loop: a thread pings the loop and names the handler that blocks it.

A handler that computes, sleeps or waits without `await` keeps every other handler, the heartbeat and the
renewal of the lease from running. Code on the loop cannot detect that; a thread can. The thread checks its
own progress too: if it did not run either, the whole process was stopped, and no handler is to blame.

Several handlers may block one after the other before the loop turns once. Each that does so for long enough
is named, with its own part of the time.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from dataclasses import dataclass
from types import TracebackType

from piko.clock import Clock
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics

_FRAMES = 30
_JOIN_S = 5.0

log = get_logger(__name__)

_Named = tuple[str | None, str | None]
"""A job and its run; twice None: no handler."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blockage:
    """The event loop has not turned since `since` (monotonic seconds).

    `job_id` and `run_id` are those of the handler that blocks it now; None if it is not a handler.
    """

    since: float
    job_id: str | None
    run_id: str | None

    @property
    def by(self) -> str:
        return "code outside any run" if self.job_id is None else f"job {self.job_id}, run {self.run_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedBlockage:
    """A blockage: its handler kept the loop for `length_s` seconds, until `ended_at` (monotonic seconds)."""

    blockage: Blockage
    length_s: float
    ended_at: float


@dataclass(frozen=True, slots=True)
class _SeenRun:
    """Which run the last looks found, and since when: at the first of these looks."""

    run: _Named = (None, None)
    since: float = float("-inf")


class Watchdog:
    """Watches the event loop in which its `with` block is entered."""

    def __init__(self, *, clock: Clock, metrics: Metrics, blocked_after_s: float) -> None:
        self._clock = clock
        self._metrics = metrics
        self._blocked_after_s = blocked_after_s
        self._look_s = min(blocked_after_s / 4, 0.25)
        self._ending = threading.Event()
        self._answered = threading.Event()
        self._thread: threading.Thread | None = None
        self._seen = _SeenRun()
        self._named_since = 0.0
        self.blockage: Blockage | None = None
        """The current blockage. May be read from any thread."""
        self.latest: EndedBlockage | None = None
        """The blockage that ended last. May be read from any thread."""

    @property
    def blocked_for_s(self) -> float:
        """Seconds that the event loop has been blocked; 0 if it is not."""
        blockage = self.blockage
        return 0.0 if blockage is None else self._clock.monotonic() - blockage.since

    def __enter__(self) -> Watchdog:
        loop, thread_id = asyncio.get_running_loop(), threading.get_ident()
        self._thread = threading.Thread(
            target=self._watch, args=(loop, thread_id), name="piko-watchdog", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        if self._thread is not None:
            self._thread.join(_JOIN_S)

    def _watch(self, loop: asyncio.AbstractEventLoop, thread_id: int) -> None:
        while not self._ending.is_set():
            self._answered.clear()
            asked_at = self._clock.monotonic()
            try:
                loop.call_soon_threadsafe(self._answered.set)
            except RuntimeError:  # the loop is closed
                return
            self._await_answer(loop, thread_id, asked_at)
            self._ending.wait(self._look_s)

    def _await_answer(self, loop: asyncio.AbstractEventLoop, thread_id: int, asked_at: float) -> None:
        looked_at = asked_at
        while not self._answered.wait(self._look_s):
            if self._ending.is_set():
                return
            now = self._clock.monotonic()
            if now - looked_at > self._look_s + self._blocked_after_s:
                asked_at = now  # this thread did not run either: the process was stopped
                self._seen = _SeenRun()
            looked_at = now
            self._look(loop, thread_id, asked_at, now)
        if self.blockage is not None:
            self._report_end(self.blockage, self._clock.monotonic(), event="event_loop_free")
            self.blockage = None

    def _look(self, loop: asyncio.AbstractEventLoop, thread_id: int, asked_at: float, now: float) -> None:
        """Report what has kept the loop since `asked_at`, or the run that keeps it now instead of that."""
        run = _run_of(asyncio.current_task(loop))
        if run != self._seen.run or self._seen.since < asked_at:
            self._seen = _SeenRun(run=run, since=now)
        blockage = self.blockage
        if blockage is None:
            if now - asked_at >= self._blocked_after_s:
                self._report(run, thread_id, since=asked_at, named_since=asked_at)
        elif run != (blockage.job_id, blockage.run_id) and now - self._seen.since >= self._blocked_after_s:
            self._report_end(blockage, self._seen.since, event="event_loop_blocked_by_another")
            self._report(run, thread_id, since=blockage.since, named_since=self._seen.since)

    def _report(self, run: _Named, thread_id: int, *, since: float, named_since: float) -> None:
        frame = sys._current_frames().get(thread_id)
        job_id, run_id = run
        self._named_since = named_since
        self.blockage = blockage = Blockage(since=since, job_id=job_id, run_id=run_id)
        self._metrics.loop_blocked.labels(job_id or "").inc()
        log.error(
            "event_loop_blocked",
            job_id=job_id,
            run_id=run_id,
            blocked_s=round(self._clock.monotonic() - named_since, 3),
            by=blockage.by,
            remedy="await blocking calls, or move the work to app.cpu_manager or asyncio.to_thread",
            stack="" if frame is None else "".join(traceback.format_stack(frame, limit=_FRAMES)),
        )

    def _report_end(self, blockage: Blockage, ended_at: float, *, event: str) -> None:
        blocked_s = ended_at - self._named_since
        self.latest = EndedBlockage(blockage=blockage, length_s=blocked_s, ended_at=ended_at)
        self._metrics.loop_blocked_seconds.labels(blockage.job_id or "").inc(blocked_s)
        log.warning(
            event,
            job_id=blockage.job_id,
            run_id=blockage.run_id,
            blocked_s=round(blocked_s, 3),
        )


def run_name(job_id: str, run_id: str) -> str:
    """The name of a run's task, from which the watchdog identifies the run."""
    return f"run {job_id} {run_id}"


def _run_of(task: asyncio.Task[object] | None) -> _Named:
    parts = [] if task is None else task.get_name().split(" ")
    if len(parts) == 3 and parts[0] == "run":
        return parts[1], parts[2]
    return None, None
