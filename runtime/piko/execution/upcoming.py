"""Runs that were claimed ahead, until their time comes.

Each handler starts at its `starts_at` by the database's clock, to the resolution of the event loop's timers,
whatever the database does then. Two things must hold at that moment: this replica may still start it
(`may_start`), and the instance's start mark says durably that it may have (`start_mark`). Where one does not,
the run waits, and starts late or never.

A run that is withdrawn has not begun and never will; its id stays known until what follows is written.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from piko.catalog.jobs import Job
from piko.clock import Clock
from piko.model.fences import InstanceFence
from piko.model.runs import Run

_CHECK_S = 0.25
"""The clock may be corrected, and leadership suspended, while a run waits."""
_SOON_S = 0.02
"""How soon it is looked again at a run whose time has come and that may not start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    run: Run
    job: Job
    fence: InstanceFence
    starts_at: datetime


class UpcomingRuns:
    """The upcoming runs of this replica.

    - `start`: called for each run when its time has come.
    - `may_start`: whether runs of that fence may start now.
    """

    def __init__(
        self,
        *,
        start: Callable[[Run, Job, InstanceFence], None],
        may_start: Callable[[InstanceFence], bool],
        clock: Clock,
    ) -> None:
        self._start = start
        self._may_start = may_start
        self._clock = clock
        self._held: dict[str, _Held] = {}
        self._withdrawn: set[str] = set()
        self._order: list[tuple[datetime, str]] = []
        self._marked_until: datetime | None = None
        self._expected: tuple[datetime, InstanceFence] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.arrived = asyncio.Event()
        """Set when there may be something for which the start mark has to be written."""

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, run_id: object) -> bool:
        return run_id in self._held or run_id in self._withdrawn

    @property
    def run_ids(self) -> set[str]:
        """Runs that have not begun, those included that never will and of which that is not written yet."""
        return self._held.keys() | self._withdrawn

    def expect(self, starts_at: datetime, fence: InstanceFence) -> None:
        """A claim is under way of runs that start at `starts_at`: their mark need not wait for its end."""
        self._expected = starts_at, fence
        self.arrived.set()

    @property
    def held_ids(self) -> set[str]:
        """Runs that start when their time comes."""
        return set(self._held)

    def hold(self, run: Run, job: Job, fence: InstanceFence) -> None:
        """Start `run` at its `starts_at`."""
        assert run.starts_at is not None, "only a run that was claimed ahead has to wait"
        self._held[run.run_id] = _Held(run=run, job=job, fence=fence, starts_at=run.starts_at)
        heapq.heappush(self._order, (run.starts_at, run.run_id))
        self.arrived.set()
        if self._order[0][1] == run.run_id:
            self._set_timer()

    def late(self, now: datetime) -> list[str]:
        """The runs whose time has come, and that may not start yet."""
        first = self._first()
        if first is None or first.starts_at > now or self._may_begin(first):
            return []  # what may start does so at the next turn of the event loop
        return [run_id for run_id, item in self._held.items() if item.starts_at <= now]

    def hand_over(self, run_id: str) -> None:
        """Give a run to `start` at once, where it is held: it is cancelled before its handler is called."""
        if (item := self._held.pop(run_id, None)) is not None:
            self._start(item.run, item.job, item.fence)

    def withdraw(self, run_id: str) -> bool:
        """Have a run never start; False if it has begun, or was never here."""
        if self._held.pop(run_id, None) is not None:
            self._withdrawn.add(run_id)
        return run_id in self._withdrawn

    def forget(self, run_ids: Collection[str]) -> None:
        """That these runs never start is written."""
        self._withdrawn.difference_update(run_ids)

    def drop(self) -> list[Run]:
        """Have none of them start; those that had not begun."""
        runs = [item.run for item in self._held.values()]
        self._held.clear()
        self._withdrawn.clear()
        self._order.clear()
        self._expected = None
        self._set_timer()
        return runs

    # ---- the start mark -------------------------------------------------------------------------------

    def first_unmarked(self) -> tuple[datetime, InstanceFence] | None:
        """When the first run starts that the start mark does not cover, and its fence.

        Runs whose claim is under way are among them.
        """
        known = [(item.starts_at, item.fence) for item in self._held.values()]
        if self._expected is not None:
            known.append(self._expected)
        marked = self._marked_until
        unmarked = [item for item in known if marked is None or item[0] > marked]
        return min(unmarked, key=lambda item: item[0], default=None)

    def marked(self, until: datetime) -> None:
        """The start mark covers what starts by `until`."""
        self._marked_until = until if self._marked_until is None else max(until, self._marked_until)
        self._start_due()

    def refused(self, fence: InstanceFence) -> list[Run]:
        """What was begun under `fence` is no longer this instance's: nothing of it starts. What that is."""
        self._expected = None
        mine = [item.run for item in self._held.values() if item.fence.epoch <= fence.epoch]
        for run in mine:
            del self._held[run.run_id]
        return mine

    # ---- when the time has come -----------------------------------------------------------------------

    def _start_due(self) -> None:
        now = self._clock.now()
        while (first := self._first()) is not None and first.starts_at <= now:
            if not self._may_begin(first):
                break
            heapq.heappop(self._order)
            del self._held[first.run.run_id]
            self._start(first.run, first.job, first.fence)
        self._set_timer()

    def _may_begin(self, item: _Held) -> bool:
        covered = self._marked_until is not None and item.starts_at <= self._marked_until
        return covered and self._may_start(item.fence)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (first := self._first()) is not None:
            wait_s = (first.starts_at - self._clock.now()).total_seconds()
            delay_s = min(wait_s, _CHECK_S) if wait_s > 0 else _SOON_S
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._start_due)

    def _first(self) -> _Held | None:
        self._drop_left()
        return self._held[self._order[0][1]] if self._order else None

    def _drop_left(self) -> None:
        while self._order and self._order[0][1] not in self._held:
            heapq.heappop(self._order)
