"""Records that a sink refuses are found and buried, and hold up no others; one that is down buries none."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest

from piko.clock import SystemClock
from piko.errors import PayloadError
from piko.observability.metrics import Metrics
from piko.persistence.intent import WriteIntent
from piko.persistence.writer import PersistenceWriter
from piko.spool.intents import DeadLetter, look
from tests.harness.waiting import wait_until_async
from tests.persistence.writing import Remembering, intent, running, sample

pytestmark = pytest.mark.usefixtures("slow")  # many retries and burials, each by a real writer

DURABILITIES = pytest.mark.parametrize("durability", ["memory", "spooled"])
ACCEPTED, DELIVERED = "accepted", "delivered"


def dead_letters(folder: Path) -> list[DeadLetter]:
    return [letter for path in sorted(folder.glob("*.spool")) for letter in look(path)[1]]


def dead_keys(folder: Path) -> list[str]:
    return [json.loads(letter.body)[0] for letter in dead_letters(folder)]


def in_balance(metrics: Metrics, sink: str = "memory") -> bool:
    """The queue's size is what was accepted and neither delivered nor buried."""
    counted = {
        outcome: sample(metrics, "piko_persistence_intents_total", sink=sink, outcome=outcome)
        for outcome in (ACCEPTED, DELIVERED)
    }
    dead = sample(metrics, "piko_persistence_dead_letter_total", sink=sink)
    waiting = sample(metrics, "piko_persistence_queue_size", sink=sink)
    return waiting == counted[ACCEPTED] - counted[DELIVERED] - dead


async def feed(writer: PersistenceWriter, keys: range, *, every_s: float = 0.0) -> None:
    for key in keys:
        await writer.enqueue(intent(key, {"n": key}))
        if every_s:
            await asyncio.sleep(every_s)


@DURABILITIES
async def test_a_single_bad_record_is_buried_as_soon_as_another_shows_that_the_sink_works(
    durability: str, tmp_path: Path
) -> None:
    sink = Remembering(durability=durability)
    sink.refuses = {"0"}
    async with running(sink, folder=tmp_path) as (writer, metrics):
        await writer.enqueue(intent(0))
        await wait_until_async(lambda: sink.called >= 5, what="the bad record to be tried")
        assert dead_keys(tmp_path) == []
        await writer.enqueue(intent(1))
        await wait_until_async(lambda: dead_keys(tmp_path) == ["0"], what="the burial")
        assert sink.keys == ["1"]
        assert in_balance(metrics)
        assert len(writer) == 0
    assert [letter.error for letter in dead_letters(tmp_path)] == ["ValueError: cannot write 0"]


@DURABILITIES
@pytest.mark.parametrize("batch_size", [1, 7, 500])
async def test_twenty_bad_records_in_a_row_hold_up_nothing_behind_them(
    durability: str, batch_size: int, tmp_path: Path
) -> None:
    sink = Remembering(durability=durability, batch_size=batch_size)
    sink.refuses = {str(number) for number in range(20)}
    async with running(sink, folder=tmp_path) as (writer, metrics):
        await feed(writer, range(20))
        await wait_until_async(lambda: sink.called >= 3, what="the bad records to be tried")
        await feed(writer, range(20, 40), every_s=0.01)
        await wait_until_async(lambda: len(writer) == 0, what="everything to be settled")
        assert in_balance(metrics)
    assert sorted(map(int, sink.keys)) == list(range(20, 40))
    assert sorted(map(int, dead_keys(tmp_path))) == list(range(20))


async def test_twenty_bad_records_and_one_good_one_are_distinguished(tmp_path: Path) -> None:
    sink = Remembering()
    sink.refuses = {str(number) for number in range(20)}
    async with running(sink, folder=tmp_path) as (writer, _):
        await feed(writer, range(20))
        await wait_until_async(lambda: sink.called >= 3, what="the bad records to be tried")
        await feed(writer, range(20, 21))
        await wait_until_async(lambda: len(dead_keys(tmp_path)) == 20, what="the burials")
    assert sink.keys == ["20"]


async def test_a_sink_whose_last_word_was_about_a_bad_record_fails_no_longer(tmp_path: Path) -> None:
    """The write that convicts a record fails, and nothing else need follow it."""
    sink = Remembering()
    sink.refuses = {"0"}
    async with running(sink, folder=tmp_path) as (writer, _):
        await feed(writer, range(3))
        await wait_until_async(lambda: len(dead_keys(tmp_path)) == 1, what="the burial")
        await wait_until_async(lambda: not writer.failing, what="the sink to be well again")
    assert sorted(sink.keys) == ["1", "2"]


@pytest.mark.parametrize(("count", "good"), [(50, 37), (256, 200), (500, 499)])
async def test_one_good_record_among_many_bad_ones_of_its_batch_is_found(
    count: int, good: int, tmp_path: Path
) -> None:
    sink = Remembering(batch_size=count)
    sink.refuses = {str(number) for number in range(count) if number != good}
    async with running(sink, folder=tmp_path, budget_s=0.05) as (writer, _):
        await writer.enqueue_many([intent(number) for number in range(count)])
        await wait_until_async(lambda: sink.keys == [str(good)], what="the good record")


async def test_one_good_record_is_found_in_whichever_batch_it_lies(tmp_path: Path) -> None:
    sink = Remembering(batch_size=20)
    sink.refuses = {str(number) for number in range(80) if number != 57}
    async with running(sink, folder=tmp_path, budget_s=0.05) as (writer, _):
        await writer.enqueue_many([intent(number) for number in range(80)])
        await wait_until_async(lambda: sink.keys == ["57"], what="the good record")


@DURABILITIES
@pytest.mark.parametrize("bad_before", [20, 53, 150])
async def test_the_good_records_of_a_batch_convict_its_bad_ones_though_nothing_else_arrives(
    durability: str, bad_before: int, tmp_path: Path
) -> None:
    """So lies in a spool what a process left that was killed while it sifted: the bad ones first."""
    total = bad_before + 200
    bad = {number for number in range(total) if number < bad_before or number % 4 == 0}
    sink = Remembering(durability=durability)
    sink.refuses = {str(number) for number in bad}
    async with running(sink, folder=tmp_path) as (writer, metrics):
        await writer.enqueue_many([intent(number) for number in range(total)])
        await wait_until_async(lambda: len(writer) == 0, what="everything to be settled")
        assert in_balance(metrics)
    assert sorted(map(int, dead_keys(tmp_path))) == sorted(bad)
    assert sorted(map(int, sink.keys)) == sorted({*range(total)} - bad)


async def test_a_long_stretch_of_bad_records_is_buried_with_a_few_good_ones(tmp_path: Path) -> None:
    sink = Remembering()
    sink.refuses = {str(number) for number in range(120)}
    async with running(sink, folder=tmp_path) as (writer, _):
        await writer.enqueue_many([intent(number) for number in range(120)])
        for number in range(120, 150):
            if not len(writer):
                break
            called = sink.called
            await feed(writer, range(number, number + 1))
            await wait_until_async(
                lambda: not len(writer) or sink.called >= called + 100,  # noqa: B023
                what="the sink to be tried",
            )
        assert len(writer) == 0
    assert sorted(map(int, dead_keys(tmp_path))) == list(range(120))


async def test_what_cannot_be_judged_is_tried_again_and_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sink = Remembering()
    sink.refuses = {"0", "1"}
    async with running(sink, folder=tmp_path, budget_s=0.05) as (writer, _):
        await writer.enqueue_many([intent(0), intent(1)])
        await wait_until_async(lambda: sink.called >= 40, what="many tries")
        assert dead_keys(tmp_path) == []
    lines = [line for line in capsys.readouterr().out.splitlines() if "sink_still_fails" in line]
    assert len(lines) >= 3
    for fact in ("[warning", "sink=memory", "waiting=2", "error='ValueError: cannot write"):
        assert fact in lines[-1]


@pytest.mark.parametrize("takes", range(1, 12))
async def test_a_sink_that_goes_away_while_bad_records_are_found_out_convicts_none(
    takes: int, tmp_path: Path
) -> None:
    class Leaving(Remembering):
        """Takes so many batches, then is away until it has returned."""

        returned = False

        async def write_batch(self, batch: list[WriteIntent]) -> None:
            self.down = not self.returned and len(self.batches) >= takes
            await super().write_batch(batch)

    sink = Leaving(attempts=2)
    sink.refuses = {str(number) for number in range(0, 60, 5)}
    async with running(sink, folder=tmp_path) as (writer, _):
        await writer.enqueue_many([intent(number) for number in range(60)])
        await wait_until_async(lambda: sink.down, what="the sink to go away")
        tried = sink.called + 20
        await wait_until_async(lambda: sink.called >= tried, what="tries of a sink that is away")
        sink.returned = True
        await wait_until_async(lambda: len(writer) == 0, what="everything to be settled")
    dead = {letter.names[0]: letter.error for letter in dead_letters(tmp_path)}
    assert dead == {key: f"ValueError: cannot write {key}" for key in sink.refuses}


async def test_a_sink_that_fails_after_a_success_costs_few_records_whatever_it_raises(tmp_path: Path) -> None:
    """No error says whether it is the sink: only as many as may be buried without proof are lost to it."""

    class Broken(Remembering):
        async def write_batch(self, batch: list[WriteIntent]) -> None:
            self.refuses = {item.key for item in batch} if self.batches else {"0"}
            await super().write_batch(batch)

    sink = Broken()
    async with running(sink, folder=tmp_path, budget_s=0.05) as (writer, _):
        await writer.enqueue_many([intent(number) for number in range(300)])
        await wait_until_async(lambda: sink.called >= 600, what="many tries")
        assert len(dead_keys(tmp_path)) <= 40


async def test_every_batch_with_a_bad_record_is_sifted(tmp_path: Path) -> None:
    sink = Remembering(batch_size=10)
    sink.refuses = {str(number) for number in range(0, 200, 10)}
    async with running(sink, folder=tmp_path) as (writer, _):
        await feed(writer, range(200))
        await wait_until_async(lambda: len(writer) == 0, what="everything to be settled")
    assert sorted(map(int, dead_keys(tmp_path))) == list(range(0, 200, 10))
    assert len(sink.keys) == 180


class ComesBack(Remembering):
    """Comes back before a try of the oldest record, never between that and one from behind."""

    comes_back = False

    async def write_batch(self, batch: list[WriteIntent]) -> None:
        if self.comes_back and batch[0].key == "0":
            self.down = False
        await super().write_batch(batch)


@DURABILITIES
async def test_a_sink_that_is_down_buries_nothing_and_keeps_the_order(
    durability: str, tmp_path: Path
) -> None:
    sink = ComesBack(durability=durability, batch_size=5)
    sink.down = True
    async with running(sink, folder=tmp_path) as (writer, metrics):
        await feed(writer, range(60), every_s=0.005)
        assert len(writer) == 60
        assert in_balance(metrics)
        sink.comes_back = True
        await wait_until_async(lambda: len(writer) == 0, what="the backlog to be delivered")
        assert in_balance(metrics)
    assert sink.keys == [str(number) for number in range(60)]
    assert dead_letters(tmp_path) == []


@pytest.mark.parametrize("seed", range(3))
async def test_an_unsteady_sink_gets_everything_that_it_may(seed: int, tmp_path: Path) -> None:
    """It fails in half of the calls, as one that deadlocks or limits rates."""
    chance = random.Random(seed)

    class Unsteady(Remembering):
        async def write_batch(self, batch: list[WriteIntent]) -> None:
            self.down = chance.random() < 0.5
            await super().write_batch(batch)

    sink = Unsteady(batch_size=10, attempts=6)
    sink.refuses = {"11"}
    async with running(sink, folder=tmp_path, budget_s=0.05) as (writer, _):
        await feed(writer, range(60), every_s=0.01)
        await wait_until_async(lambda: len(sink.keys) >= 59, what="all but one to be delivered")
    assert set(dead_keys(tmp_path)) <= {"11"}


async def test_a_record_at_which_the_sink_hangs_is_buried_like_any_other(tmp_path: Path) -> None:
    class Hanging(Remembering):
        async def write_batch(self, batch: list[WriteIntent]) -> None:
            self.hangs = any(item.key == "3" for item in batch)
            await super().write_batch(batch)

    sink = Hanging(timeout_s=0.1)
    async with running(sink, folder=tmp_path) as (writer, _):
        await feed(writer, range(10))
        for number in range(10, 1000):
            if dead_keys(tmp_path):
                break
            await feed(writer, range(number, number + 1), every_s=0.05)
        assert dead_keys(tmp_path) == ["3"]
        await wait_until_async(lambda: len(sink.keys) == number - 1, what="the others")
    assert [letter.error for letter in dead_letters(tmp_path)] == ["no answer within timeout_s = 0.1"]


async def test_what_the_sink_knows_not_to_fit_is_buried_at_once_and_without_proof(tmp_path: Path) -> None:
    class Knowing(Remembering):
        async def write_batch(self, batch: list[WriteIntent]) -> None:
            if any(item.key in self.refuses for item in batch):
                raise PayloadError("there is no such column")
            await super().write_batch(batch)

    sink = Knowing(backoff_s=60, max_backoff_s=60)  # a pause would never end
    sink.refuses = {"3", "4"}
    async with running(sink, folder=tmp_path) as (writer, _):
        await writer.enqueue(intent(3))
        await wait_until_async(lambda: dead_keys(tmp_path) == ["3"], what="the first burial")
        await feed(writer, range(4, 10))
        await wait_until_async(lambda: len(writer) == 0, what="the others")
    assert sorted(sink.keys) == ["5", "6", "7", "8", "9"]
    assert [letter.error for letter in dead_letters(tmp_path)] == ["there is no such column"] * 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError, RecursionError])
async def test_whatever_a_sink_raises_is_its_own_trouble(error: Any, tmp_path: Path) -> None:
    class Rude(Remembering):
        async def write_batch(self, batch: list[WriteIntent]) -> None:
            if any(item.key == "0" for item in batch):
                raise error
            await super().write_batch(batch)

    rude, other = Rude("memory"), Remembering("other")
    async with running(rude, other, folder=tmp_path) as (writer, _):
        await feed(writer, range(3))
        await writer.enqueue(intent(1, sink="other"))
        await wait_until_async(lambda: len(writer) == 0, what="everything to be settled")
    assert rude.keys == ["1", "2"]
    assert other.keys == ["1"]
    assert [letter.error for letter in dead_letters(tmp_path)] == [error.__name__]


async def test_a_dead_letter_and_a_failure_name_job_run_and_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sink = Remembering()
    sink.refuses = {"bad"}
    async with running(sink, folder=tmp_path) as (writer, _):
        await writer.enqueue_many([intent("good"), intent("bad")])
        await wait_until_async(lambda: len(writer) == 0, what="everything to be settled")
    lines = capsys.readouterr().out.splitlines()
    (failed, *_) = [line for line in lines if "sink_failed" in line]
    assert "job_id=load" in failed
    assert "key='good, bad'" in failed
    (dead,) = [line for line in lines if "dead_letter" in line]
    for fact in ("[error", "job_id=load", "run_id=r1", "key=bad", "error='ValueError: cannot write bad'"):
        assert fact in dead


class WithinOneMinute(SystemClock):
    """However long a busy disk takes for many burials."""

    def monotonic(self) -> float:
        return 0.0


async def test_many_dead_letters_fill_no_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sink = Remembering()
    sink.refuses = {str(number) for number in range(200)}
    async with running(sink, folder=tmp_path, clock=WithinOneMinute()) as (writer, _):
        await feed(writer, range(200))
        for number in range(200, 400):
            if not len(writer):
                break
            await feed(writer, range(number, number + 1), every_s=0.1)
    lines = capsys.readouterr().out.splitlines()
    assert sum("] dead_letter " in line for line in lines) == 50
    assert sum("more_dead_letters" in line for line in lines) == 1
    assert len(dead_letters(tmp_path)) == 200
