"""What an acknowledged intent outlives: outages with kill -9, stops, payloads no disk keeps, deaf sinks."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from piko.errors import PayloadError
from piko.persistence.intent import WriteIntent
from piko.spool.intents import DeadLetter, look
from piko.spool.outcomes import OutcomeFile
from piko.spool.owned_file import make_folder
from tests.harness.programs import PikoProcessFactory
from tests.harness.waiting import PATIENCE_S, wait_until_async
from tests.persistence.test_crash import PATHS
from tests.persistence.writing import Remembering, intent, running, sample

DURABILITIES = pytest.mark.parametrize("durability", ["memory", "spooled"])


def held(folder: Path) -> tuple[dict[str, int], list[DeadLetter]]:
    """What the only file of the spool holds."""
    (path,) = folder.glob("*.spool")
    return look(path)


def no_folder(path: Path) -> None:
    path.write_text("a file where the folder should be")


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def modes(folder: Path) -> list[int]:
    """Of the folder, and of the files in it."""
    return [stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())]


IN_AN_OUTAGE = """
import asyncio, sys
from pathlib import Path
from tests.persistence.writing import Remembering, intent, running

async def main():
    sink = Remembering("memory", queue_size=20, batch_size=7)
    sink.down = True
    async with running(sink, folder=Path(sys.argv[1]), owner="first") as (writer, _):
        for number in range(30):
            await writer.enqueue(intent(number, {"n": number}))
        while writer._workers["memory"]._queue.loose or sink.called < 2:
            await asyncio.sleep(0.01)
        for number in range(30, 60):
            await writer.enqueue(intent(number, {"n": number}))
        print("all 60 were taken", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""

HANGING = IN_AN_OUTAGE.replace("sink.down = True", "sink.hangs = True").replace(
    "or sink.called < 2", "or not sink.called"
)


@pytest.mark.parametrize("program", [IN_AN_OUTAGE, HANGING], ids=["down", "hangs"])
async def test_what_waits_in_memory_for_a_sink_in_trouble_outlives_kill_9(
    program: str, piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    script = tmp_path / "outage.py"
    script.write_text(program)
    process = piko_process(str(script), str(tmp_path / "spool"), env=PATHS, name="outage")
    process.wait_for_line("all 60 were taken")
    process.kill()
    survivor = Remembering("memory")
    async with running(survivor, folder=tmp_path / "spool", owner="second"):
        await wait_until_async(lambda: len(survivor.keys) >= 60, what="all that was taken")
    assert survivor.keys == [str(number) for number in range(60)]


async def test_a_healthy_memory_sink_touches_no_disk(tmp_path: Path) -> None:
    sink = Remembering()
    async with running(sink, folder=tmp_path / "spool") as (writer, _):
        for number in range(100):
            await writer.enqueue(intent(number, {"n": number}))
        await wait_until_async(lambda: len(sink.keys) == 100, what="the delivery")
        assert files(tmp_path) == []


async def test_a_full_queue_before_a_sink_that_is_down_hangs_no_handler(tmp_path: Path) -> None:
    sink = Remembering(queue_size=5, batch_size=2)
    sink.down = True
    async with running(sink, folder=tmp_path) as (writer, _):
        async with asyncio.timeout(PATIENCE_S):
            for number in range(100):
                await writer.enqueue(intent(number))
        assert len(writer) == 100
        sink.down = False
    assert sorted(map(int, sink.keys)) == list(range(100))


async def test_without_a_disk_memory_is_all_there_is(tmp_path: Path) -> None:
    no_folder(tmp_path / "spool")
    sink = Remembering(queue_size=5, batch_size=2)
    sink.down = True
    async with running(sink, folder=tmp_path / "spool") as (writer, _):
        producer = asyncio.create_task(_produce(writer, 50))
        await wait_until_async(lambda: sink.called >= 5, what="the sink to be tried")
        assert not producer.done()
        sink.down = False
        await asyncio.wait_for(producer, PATIENCE_S)
    assert sorted(map(int, sink.keys)) == list(range(50))


async def _produce(writer: Any, count: int) -> None:
    for number in range(count):
        await writer.enqueue(intent(number))


# ---- payloads that cannot be kept --------------------------------------------------------------------


@DURABILITIES
async def test_a_payload_that_no_disk_keeps_is_refused_when_it_is_enqueued(
    durability: str, tmp_path: Path
) -> None:
    sink = Remembering(durability=durability)
    async with running(sink, folder=tmp_path) as (writer, _):
        with pytest.raises(
            PayloadError, match=r"intent '0' for sink 'memory': a payload holds a builtins.set"
        ):
            await writer.enqueue(intent(0, {"a": {1}}))
        with pytest.raises(PayloadError, match=r"builtins\.set"):
            await writer.enqueue_many([intent(1), intent(2, [{1}])])
        await writer.enqueue(intent(3))
    assert sink.keys == ["3"]


async def test_one_that_is_changed_later_costs_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sink = Remembering(linger_s=60)  # nothing is tried before the stop
    payloads: list[dict[str, Any]] = [{"n": [number]} for number in range(10)]
    async with running(sink, folder=tmp_path, budget_s=0) as (writer, _):
        for number, payload in enumerate(payloads):
            await writer.enqueue(intent(number, payload))
        payloads[4]["n"] = {4}
    waiting, (dead,) = held(tmp_path)
    assert waiting == {"memory": 9}
    key, job_id, run_id, *_ = json.loads(dead.body)
    assert (key, job_id, run_id) == ("4", "load", "r1")
    assert "{'n': {4}}" in dead.body
    assert "builtins.set" in dead.error
    assert "key=4" in next(line for line in capsys.readouterr().out.splitlines() if "dead_letter" in line)


# ---- stops -------------------------------------------------------------------------------------------


class Stubborn(Remembering):
    """Its `close` does what `how` says."""

    def __init__(self, name: str, *, how: Any, **options: Any) -> None:
        super().__init__(name, **options)
        self.how = how
        self.closed = False

    async def close(self) -> None:
        if self.how is None:
            self.closed = True
        elif self.how == "hang":
            await asyncio.Event().wait()
        else:
            raise self.how


@pytest.mark.parametrize(
    "how", [ValueError("no"), KeyboardInterrupt(), SystemExit(3), asyncio.CancelledError(), "hang"]
)
async def test_a_sink_that_does_not_close_costs_the_others_nothing(
    how: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, good = Stubborn("bad", how=how), Stubborn("good", how=None)
    bad.down = good.down = True
    async with running(bad, good, folder=tmp_path, budget_s=0.05, close_s=0.2) as (writer, _):
        for number in range(10):
            await writer.enqueue(intent(number, sink="bad"))
            await writer.enqueue(intent(number, sink="good"))
    assert good.closed
    assert held(tmp_path)[0] == {"bad": 10, "good": 10}
    assert "not_closed" in capsys.readouterr().out


@pytest.mark.usefixtures("slow")
async def test_a_write_that_swallows_its_cancellation_does_not_hold_up_the_stop(tmp_path: Path) -> None:
    class Deaf(Remembering):
        async def write_batch(self, batch: list[WriteIntent]) -> None:
            self.called += 1
            while not self.released.is_set():
                try:
                    await self.released.wait()
                except asyncio.CancelledError:
                    continue

    deaf, good = Deaf("deaf", timeout_s=0.1), Remembering("good")
    good.down = True
    async with running(deaf, good, folder=tmp_path, budget_s=0.05) as (writer, _):
        await writer.enqueue(intent(1, sink="deaf"))
        await writer.enqueue(intent(2, sink="good"))
        await wait_until_async(lambda: deaf.called, what="the write")
    assert writer.abandoned == 1
    assert held(tmp_path)[0] == {"deaf": 1, "good": 1}
    deaf.released.set()
    await wait_until_async(lambda: not _tasks("write to deaf"), what="the write's end")


def _tasks(name: str) -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if task.get_name() == name]


async def test_nothing_is_taken_after_the_stop(tmp_path: Path) -> None:
    async with running(Remembering(), folder=tmp_path) as (writer, _):
        pass
    with pytest.raises(PayloadError, match="the app is not running"):
        await writer.enqueue(intent(1))


async def test_what_is_on_disk_is_for_its_user_alone(tmp_path: Path) -> None:
    sink = Remembering(durability="spooled")
    sink.down = True
    mask = os.umask(0o000)
    try:
        async with running(sink, folder=tmp_path / "spool", budget_s=0) as (writer, _):
            await writer.enqueue(intent(1))
            of_folder, *of_files = modes(tmp_path / "spool")
            assert of_folder == 0o700
            assert len(of_files) >= 3  # the database, its log, its lock
            assert set(of_files) == {0o600}
    finally:
        os.umask(mask)


def test_ends_of_runs_on_disk_are_for_their_user_alone(tmp_path: Path) -> None:
    mask = os.umask(0o000)
    try:
        make_folder(tmp_path / "spool")
        file = OutcomeFile(tmp_path / "spool" / "one.outcomes")
        of_folder, *of_files = modes(tmp_path / "spool")
        file.leave()
    finally:
        os.umask(mask)
    assert of_folder == 0o700
    assert set(of_files) == {0o600}


async def test_the_size_of_the_queue_is_right_at_each_scrape(tmp_path: Path) -> None:
    sink = Remembering(batch_size=10, queue_size=5_000)
    sink.hangs = True
    async with running(sink, folder=tmp_path) as (writer, metrics):
        for number in range(2_001):
            await writer.enqueue(intent(number))
        assert sample(metrics, "piko_persistence_queue_size", sink="memory") == 2_001
        sink.released.set()
        await wait_until_async(lambda: len(writer) == 0, what="the delivery")
        assert sample(metrics, "piko_persistence_queue_size", sink="memory") == 0
