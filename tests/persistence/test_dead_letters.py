"""Dead letters of a running writer: each keeps its name, and is replayed while its sink works on."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Collection, Sequence
from pathlib import Path

import pytest

from piko.errors import PayloadError
from piko.model.dead_letters import ListedLetter
from piko.observability.logs import configure_logging
from piko.persistence.codec import decode, encode
from piko.persistence.intent import WriteIntent
from piko.persistence.letter import Letter
from piko.persistence.queue import SinkQueue
from piko.persistence.sink_base import ResultSink
from piko.persistence.writer import PersistenceWriter
from piko.spool.intents import DeadIntent, SpooledIntent, SpoolFile
from piko.spool.spool import Spool
from tests.harness.waiting import wait_until_async
from tests.persistence.writing import Remembering, intent, running, spool_files

DURABILITIES = pytest.mark.parametrize("durability", ["memory", "spooled"])


async def dead(writer: PersistenceWriter, count: int) -> list[ListedLetter]:
    async def found() -> list[ListedLetter] | None:
        letters = await writer.dead_letters.newest(1000)
        return letters if len(letters) == count else None

    return await wait_until_async(found, what=f"{count} dead letters") or []


@DURABILITIES
async def test_no_secret_that_a_sink_quotes_is_kept_or_logged(durability: str, tmp_path: Path) -> None:
    secret, asked, stream = "hunter2-of-the-sink", set[str](), io.StringIO()
    configure_logging(log_format="json", stream=stream)

    class Quoting(ResultSink):
        async def write_batch(self, batch: list[WriteIntent]) -> None:
            raise PayloadError(f"{'x' * 900} {batch[0].payload}" * 10)

    def secrets_of(job_ids: Collection[str]) -> Collection[str]:
        asked.update(job_ids)
        return {secret}

    sink = Quoting("memory", durability=durability)
    async with running(sink, folder=tmp_path, secrets_of=secrets_of) as (writer, _):
        await writer.enqueue(intent(f"https://shop/?token={secret}", {"token": secret}))
        (letter,) = await dead(writer, 1)
    assert asked == {"load"}
    assert letter.key == "https://shop/?token=***"
    assert "{'token': '***'}" in letter.error
    assert "hunter" not in letter.error, "nor is half of it beside a cut"
    assert len([line for line in stream.getvalue().splitlines() if "dead_letter" in line]) == 1
    assert "hunter" not in stream.getvalue()


async def test_no_secret_is_in_what_is_said_of_a_record_that_can_no_longer_be_read(tmp_path: Path) -> None:
    file = SpoolFile(tmp_path / "one.spool")
    file.put([("memory", json.dumps(["k/hunter2", "load", "r1", "hunter2 is no instant", {}]))])
    file.close()
    sink = Remembering(durability="spooled")
    async with running(sink, folder=tmp_path, owner="two", secrets_of=lambda _: {"hunter2"}) as (writer, _):
        await wait_until_async(lambda: writer.dead_letters.changes is not None, what="an open spool")
        (letter,) = await dead(writer, 1)
    assert "hunter2" not in letter.error, letter.error
    assert letter.key == "k/***"


@DURABILITIES
async def test_a_letter_is_replayed_while_its_sink_works_on(durability: str, tmp_path: Path) -> None:
    sink = Remembering(durability=durability)
    sink.refuses = {"3"}
    async with running(sink, folder=tmp_path) as (writer, _):
        await writer.enqueue_many([intent(number) for number in range(6)])
        (letter,) = await dead(writer, 1)
        assert (letter.sink, letter.job_id, letter.run_id, letter.key) == ("memory", "load", "r1", "3")
        await wait_until_async(lambda: not writer.failing, what="the sink to be well: it takes the others")
        sink.refuses = set()
        assert await writer.dead_letters.replay([letter.letter_id]) == {}
        await wait_until_async(lambda: "3" in sink.keys, what="the replayed record")
        await writer.enqueue(intent("after"))
        await wait_until_async(lambda: "after" in sink.keys, what="a record after it")
        await wait_until_async(lambda: len(writer) == 0, what="an empty queue")
        assert await writer.dead_letters.counts() == {}
    assert sorted(sink.keys) == ["0", "1", "2", "3", "4", "5", "after"]
    assert spool_files(tmp_path) == []


@DURABILITIES
async def test_replays_among_new_records_lose_none_and_leave_none_behind(
    durability: str, tmp_path: Path
) -> None:
    sink = Remembering(durability=durability, batch_size=7, queue_size=20)
    bad = {f"{number}" for number in range(0, 120, 3)}
    sink.refuses = set(bad)
    async with running(sink, folder=tmp_path) as (writer, _):
        await writer.enqueue_many([intent(number) for number in range(120)])
        letters = await dead(writer, len(bad))
        sink.refuses = set()

        async def replay() -> None:
            for letter in letters:
                await writer.dead_letters.replay([letter.letter_id])

        async def write() -> None:
            for number in range(1000, 1100):
                await writer.enqueue(intent(number))

        await asyncio.gather(replay(), write())
        await wait_until_async(lambda: len(writer) == 0, what="an empty queue")
        wanted = {str(number) for number in (*range(120), *range(1000, 1100))}
        assert set(sink.keys) == wanted
        assert await writer.dead_letters.counts() == {}
    assert spool_files(tmp_path) == []


async def test_a_record_that_its_sink_refuses_again_is_another_letter(tmp_path: Path) -> None:
    sink = Remembering()
    sink.refuses = {"bad"}
    async with running(sink, folder=tmp_path) as (writer, _):
        await writer.enqueue_many([intent("bad"), intent("good")])
        (first,) = await dead(writer, 1)
        await writer.dead_letters.replay([first.letter_id])
        await writer.enqueue(intent("good"))

        async def another() -> bool:
            letters = await writer.dead_letters.newest(10)
            return [item.key for item in letters] == ["bad"] and letters[0].letter_id != first.letter_id

        await wait_until_async(another, what="the record to be refused again")
        await writer.dead_letters.drop([item.letter_id for item in await writer.dead_letters.newest(10)])
        assert await writer.dead_letters.counts() == {}
    assert spool_files(tmp_path) == []


async def test_a_letter_keeps_its_name_when_another_process_takes_it_over(tmp_path: Path) -> None:
    sink = Remembering()
    sink.refuses = {"bad"}
    async with running(sink, folder=tmp_path, owner="one") as (writer, _):
        await writer.enqueue_many([intent("bad"), intent("good")])
        (letter,) = await dead(writer, 1)
    async with running(Remembering(), folder=tmp_path, owner="two") as (writer, _):
        await wait_until_async(lambda: writer.dead_letters.changes is not None, what="an open spool")
        assert writer.dead_letters.former == ["one"]
        assert await writer.dead_letters.newest(10) == [letter]


async def test_letters_of_a_sink_that_no_code_registers_stay_and_are_named(tmp_path: Path) -> None:
    file = SpoolFile(tmp_path / "one.spool")
    file.bury("removed", [DeadIntent("ValueError: no", body=encode(intent("k", sink="removed")))])
    file.put([("removed", encode(intent("waits", sink="removed")))])
    file.close()
    async with running(Remembering(), folder=tmp_path, owner="two") as (writer, _):
        await wait_until_async(lambda: writer.dead_letters.changes is not None, what="an open spool")
        (letter,) = await writer.dead_letters.newest(10)
        assert await writer.dead_letters.replay([letter.letter_id]) == {letter.letter_id: "removed"}
        assert await writer.dead_letters.newest(10) == [letter]
        states = {state.sink: state for state in await writer.sink_states()}
    assert (states["removed"].waiting, states["removed"].dead_letters) == (1, 1)
    assert "nothing in this application registers it" in (states["removed"].error or "")
    assert (states["memory"].waiting, states["memory"].error) == (0, None)


async def test_the_state_of_a_sink_that_is_down_says_what_waits_since_when(tmp_path: Path) -> None:
    sink = Remembering(attempts=1)
    sink.down = True
    async with running(sink, folder=tmp_path, budget_s=0.05) as (writer, _):
        await writer.enqueue_many([intent(number) for number in range(5)])

        async def stuck() -> bool:
            (state,) = await writer.sink_states()
            return state.error is not None and state.oldest_at is not None

        await wait_until_async(stuck, what="a sink that takes nothing")
        (state,) = await writer.sink_states()
        assert (state.sink, state.waiting, state.durability) == ("memory", 5, "memory")
        assert state.error == "ConnectionError: the sink is down"
        assert state.failing_since is not None
        sink.down = False
        await wait_until_async(lambda: len(writer) == 0, what="an empty queue")
        (state,) = await writer.sink_states()
        assert (state.waiting, state.oldest_at, state.error, state.failing_since) == (0, None, None, None)


async def test_what_a_job_named_its_record_cannot_break_the_list(tmp_path: Path) -> None:
    odd = intent("\ud800" + "k" * 1000, sink="memory")
    odd.job_id, odd.run_id = "jöb" * 100, "r\0" * 100
    file = SpoolFile(tmp_path / "one.spool")
    file.bury("memory", [DeadIntent("E" * 10_000, body=encode(odd)), DeadIntent("no", body="not JSON")])
    file.close()
    async with running(Remembering(), folder=tmp_path, owner="two") as (writer, _):
        await wait_until_async(lambda: writer.dead_letters.changes is not None, what="an open spool")
        letters = {letter.job_id[:1]: letter for letter in await writer.dead_letters.newest(10)}
    assert (letters["?"].key, letters["?"].run_id) == ("?", "?")
    assert letters["j"].job_id.isascii()
    assert len(letters["j"].job_id) == 128
    assert len(letters["j"].run_id) == 64
    assert len(letters["j"].key.encode()) <= 255
    assert len(letters["j"].error) <= 2000


class _Held(Spool):
    """Holds a replay between the disk and the queue."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, name="one")
        self.moved, self.released = asyncio.Event(), asyncio.Event()

    async def replay(self, letter_ids: Sequence[str]) -> int:
        count = await super().replay(letter_ids)
        self.moved.set()
        await self.released.wait()
        return count


async def test_a_record_that_is_put_behind_a_replay_in_progress_does_not_hide_it(tmp_path: Path) -> None:
    sink, spool = Remembering(durability="spooled"), _Held(tmp_path)
    await spool.open()

    async def opened() -> Spool:
        return spool

    async def letters(kept: list[SpooledIntent]) -> list[Letter]:
        return [Letter(decode("memory", item.body, sink.models), item.id, len(item.body)) for item in kept]

    queue = SinkQueue(sink, spool=opened, letters=letters, named=lambda _: {})
    await spool.bury("memory", [DeadIntent("no", body=encode(intent("dead")))])
    (dead_letter,) = await spool.dead_letters(10)
    replay = asyncio.create_task(queue.replay([dead_letter.letter_id]))
    await spool.moved.wait()
    later = intent("later")
    (number,) = await spool.put([("memory", encode(later))])
    queue.put_spooled([(SpooledIntent(number, encode(later)), later)])
    spool.released.set()
    assert await replay == 1
    keys: list[str] = []
    while len(queue):
        keys += [letter.intent.key for letter in await queue.next()]
    assert keys == ["dead", "later"]
    await spool.close()
