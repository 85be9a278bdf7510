"""How often each replica reads the deadlines of all jobs."""

from __future__ import annotations

from itertools import count

import pytest

from piko.clock import SystemClock
from piko.observability.metrics import Metrics
from piko.replica.deadline_watch import DeadlineWatch
from piko.store.engine import Database
from piko.store.reports.objectives import Objectives
from tests.harness.databases import TestDatabase
from tests.store.making import opened


class SlowClock(SystemClock):
    """Each reading comes `step_s` seconds after the one before."""

    def __init__(self, step_s: float) -> None:
        self._readings = count(0.0, step_s)

    def monotonic(self) -> float:
        return next(self._readings)


async def pause_after_a_look(database: Database, *, step_s: float) -> float:
    watch = DeadlineWatch(
        objectives=Objectives(database=database),
        clock=SlowClock(step_s),
        metrics=Metrics(),
        poll_interval_s=1.0,
        timezone="UTC",
    )
    await watch.look()
    return watch.pause_s()


async def test_a_look_that_takes_long_is_made_less_often(migrated_database: TestDatabase) -> None:
    async with opened(migrated_database) as database:
        usual_s = await pause_after_a_look(database, step_s=0.001)
        slow_s = await pause_after_a_look(database, step_s=1.0)
        slower_s = await pause_after_a_look(database, step_s=3.0)
    assert usual_s == pytest.approx(2.0)
    assert slow_s >= 20.0
    assert slower_s == pytest.approx(3 * slow_s)
