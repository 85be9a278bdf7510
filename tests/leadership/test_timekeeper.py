"""Whatever a machine's clock says, a replica goes by the database's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piko.clock import DatabaseClock, SystemClock
from piko.leadership.timekeeper import Timekeeper
from piko.observability.metrics import Metrics
from piko.store.engine import Database
from piko.store.leases import LeaseStore
from tests.harness.databases import TestDatabase
from tests.leadership.clocks import WrongClock
from tests.store.making import NOW, opened

SECOND = timedelta(seconds=1)


@pytest.fixture
async def database(emptied_database: TestDatabase) -> AsyncIterator[Database]:
    async with opened(emptied_database) as made:
        yield made


class SteppedClock(SystemClock):
    """The machine's clock, until somebody sets it."""

    def __init__(self) -> None:
        self.off = timedelta()

    def now(self) -> datetime:
        return super().now() + self.off


def timekeeper(database: Database, clock: DatabaseClock, metrics: Metrics) -> Timekeeper:
    return Timekeeper(leases=LeaseStore(database=database), clock=clock, metrics=metrics, every_s=10)


async def off_by(database: Database, clock: DatabaseClock) -> timedelta:
    """How far `clock` is ahead of the database's, or behind, for certain; how long asking took is neither."""
    before = clock.now()
    _, moment, _ = await LeaseStore(database=database).now(clock.monotonic)
    after = clock.now()
    return max(before - moment, timedelta(0)) or min(after - moment, timedelta(0))


@pytest.mark.parametrize("off_s", [7.5, -7.5, 86_400 * 365])
async def test_a_clock_that_is_wrong_is_corrected_and_told_of_once(
    off_s: float, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    clock, metrics = DatabaseClock(WrongClock(timedelta(seconds=off_s))), Metrics()
    keeper = timekeeper(database, clock, metrics)
    assert keeper.is_due
    for _ in range(3):
        await keeper.measure()
    assert not keeper.is_due
    assert abs(await off_by(database, clock)) < SECOND
    said = metrics.registry.get_sample_value("piko_clock_offset_seconds")
    assert said == pytest.approx(off_s, abs=1)
    assert capsys.readouterr().out.count("clock_is_off") == 1


async def test_a_clock_that_is_right_is_left_alone(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    clock, metrics = DatabaseClock(SystemClock()), Metrics()
    for _ in range(3):
        await timekeeper(database, clock, metrics).measure()
    assert abs(metrics.registry.get_sample_value("piko_clock_offset_seconds") or 0.0) < 1
    assert "clock_is_off" not in capsys.readouterr().out


async def test_a_clock_that_is_set_between_two_measurements_makes_nothing_early(database: Database) -> None:
    machine = SteppedClock()
    clock = DatabaseClock(machine)
    await timekeeper(database, clock, Metrics()).measure()
    machine.off = timedelta(hours=1)
    assert await off_by(database, clock) < SECOND
    await timekeeper(database, clock, Metrics()).measure()
    machine.off = timedelta()
    assert await off_by(database, clock) < SECOND


class Replying(LeaseStore):
    """A database whose answers take `s` seconds there and `s` back, by the machine's two clocks."""

    def __init__(self, machine: Told, *, truth: timedelta) -> None:
        self.machine, self.truth = machine, truth
        self.there_s = self.back_s = 0.0

    async def now(self, monotonic: Callable[[], float]) -> tuple[float, datetime, float]:
        asked_at = monotonic()
        self.machine.passes(self.there_s)
        moment = self.machine.wall - self.truth
        self.machine.passes(self.back_s)
        return asked_at, moment, monotonic()


@given(
    off_s=st.one_of(st.just(0.0), st.floats(5, 1e5), st.floats(-1e5, -5)).map(lambda value: round(value, 3)),
    trips=st.lists(st.tuples(st.floats(0, 2), st.floats(0, 2), st.floats(0, 60)), min_size=1, max_size=6),
)
async def test_a_clock_that_is_right_or_corrected_is_not_ahead_and_lags_by_a_round_trip_at_most(
    off_s: float, trips: list[tuple[float, float, float]]
) -> None:
    machine = Told()
    database, clock = Replying(machine, truth=timedelta(seconds=off_s)), DatabaseClock(machine)
    keeper = Timekeeper(leases=database, clock=clock, metrics=Metrics(), every_s=10)
    for at, (there_s, back_s, after_s) in enumerate(trips, start=1):
        database.there_s, database.back_s = there_s, back_s
        await keeper.measure()
        machine.passes(after_s)
        lag = (machine.wall - database.truth) - clock.now()
        quickest = min(there + back for there, back, _ in trips[:at])
        assert timedelta(milliseconds=-0.1) <= lag <= timedelta(seconds=quickest, milliseconds=2.1)


class Told:
    """Clocks that say what they are told."""

    def __init__(self) -> None:
        self.wall = NOW
        self.seconds = 0.0

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.seconds

    def passes(self, seconds: float) -> None:
        self.seconds += seconds
        self.wall += timedelta(seconds=seconds)


@given(
    off_s=st.floats(-1e6, 1e6),
    passed_s=st.floats(0, 1e5),
    set_by_s=st.floats(-1e6, 1e6),
)
def test_a_database_clock_is_never_ahead_of_the_time_that_has_passed(
    off_s: float, passed_s: float, set_by_s: float
) -> None:
    machine = Told()
    clock = DatabaseClock(machine)
    assert clock.now() == NOW, "the machine's, before anything was measured"
    truth = NOW - timedelta(seconds=off_s)
    clock.is_at(truth, machine=machine.wall, monotonic=machine.seconds)
    machine.seconds += passed_s
    machine.wall += timedelta(seconds=passed_s + set_by_s)
    after = truth + timedelta(seconds=passed_s)
    assert clock.now() <= after + timedelta(microseconds=10)
    if set_by_s == 0:
        assert abs(clock.now() - after) < timedelta(microseconds=10)
