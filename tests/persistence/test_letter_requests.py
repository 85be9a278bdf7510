"""Dead letters in the database: listed by the replica that has them, which does what is asked for them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from piko.clock import SystemClock
from piko.model.changes import Actor
from piko.model.dead_letters import LetterVerb
from piko.observability.metrics import Metrics
from piko.persistence.codec import encode
from piko.persistence.letter_requests import MOST, LetterRequests
from piko.persistence.writer import PersistenceWriter
from piko.spool.intents import DeadIntent, SpoolFile
from piko.steering import dead_letters
from piko.store.dead_letters import DeadLetterStore
from piko.store.engine import Database
from piko.store.reports.dead_letters import DeadLetterList, DeadLetterReport, LetterFilter
from tests.harness.databases import TestDatabase
from tests.harness.waiting import wait_until_async
from tests.persistence.writing import Remembering, intent, running
from tests.store.making import opened

_ANN = Actor(who="ann", via="api", reason="the sink was repaired")


@pytest.fixture
async def database(emptied_database: TestDatabase) -> AsyncIterator[Database]:
    async with opened(emptied_database) as made:
        yield made


@asynccontextmanager
async def replica(
    database: Database, sink: Remembering, folder: Path, *, owner: str = "one"
) -> AsyncIterator[tuple[PersistenceWriter, LetterRequests]]:
    """A writer, and what lists its dead letters; each look is the test's."""
    async with running(sink, folder=folder, owner=owner) as (writer, metrics):
        yield writer, requests_of(database, writer, owner, metrics)


def requests_of(
    database: Database, writer: PersistenceWriter, owner: str, metrics: Metrics
) -> LetterRequests:
    return LetterRequests(
        letters=writer.dead_letters,
        store=DeadLetterStore(database=database),
        instance_id=owner,
        clock=SystemClock(),
        metrics=metrics,
        poll_interval_s=0.1,
    )


async def listed(database: Database) -> list[DeadLetterReport]:
    return await DeadLetterList(database=database).page(LetterFilter(), after=None, limit=1000)


async def refuse(writer: PersistenceWriter, sink: Remembering, *keys: str) -> None:
    sink.refuses |= set(keys)
    await writer.enqueue_many([intent(key, {"secret": "hunter2"}) for key in (*keys, "good")])

    async def dead() -> bool:
        counts = await writer.dead_letters.counts()
        return counts.get("memory", (0, None))[0] >= len(keys)

    await wait_until_async(dead, what="dead letters")


async def test_a_letter_is_listed_and_replayed_by_its_replica_when_somebody_asks(
    database: Database, emptied_database: TestDatabase, tmp_path: Path
) -> None:
    sink = Remembering()
    async with replica(database, sink, tmp_path) as (writer, requests):
        await requests.look()
        assert await listed(database) == []
        await refuse(writer, sink, "bad")
        await requests.look()
        (letter,) = await listed(database)
        assert (letter.sink, letter.job_id, letter.run_id, letter.key) == ("memory", "load", "r1", "bad")
        assert (letter.error, letter.instance_id) == ("ValueError: cannot write bad", "one")
        assert "hunter2" not in str(await emptied_database.execute("SELECT * FROM dead_letter"))

        checked = await dead_letters.ask(
            database, letter.letter_id, LetterVerb.REPLAY, actor=_ANN, dry_run=True
        )
        assert checked.asked is None
        sink.refuses = set()
        await requests.look()
        assert "bad" not in sink.keys

        asked = await dead_letters.ask(database, letter.letter_id, LetterVerb.REPLAY, actor=_ANN)
        assert (asked.asked, asked.asked_by) == ("replay", "ann")
        await requests.look()
        await wait_until_async(lambda: "bad" in sink.keys, what="the replayed record")
        assert await listed(database) == []
    changes = await emptied_database.execute("SELECT who, via, what, job_id, reason FROM change_log")
    assert changes == [("ann", "api", "replay_dead_letter", "load", "the sink was repaired")]


async def test_what_is_dropped_is_deleted_and_the_rest_stays(database: Database, tmp_path: Path) -> None:
    sink = Remembering()
    async with replica(database, sink, tmp_path) as (writer, requests):
        await refuse(writer, sink, "a", "b")
        await requests.look()
        drop = next(item for item in await listed(database) if item.key == "a")
        await dead_letters.ask(database, drop.letter_id, LetterVerb.DROP, actor=_ANN)
        await requests.look()
        assert [item.key for item in await listed(database)] == ["b"]
        assert [item.key for item in await writer.dead_letters.newest(10)] == ["b"]
        assert "a" not in sink.keys


async def test_what_is_asked_while_no_process_has_the_letter_is_done_by_the_next(
    database: Database, tmp_path: Path
) -> None:
    sink = Remembering()
    async with replica(database, sink, tmp_path) as (writer, requests):
        await refuse(writer, sink, "a", "b")
        await requests.look()
    found = {item.key: item for item in await listed(database)}
    assert "its replica one has ended: a process that starts with the same spool" in (found["a"].note or "")
    await dead_letters.ask(database, found["a"].letter_id, LetterVerb.REPLAY, actor=_ANN)
    cured = Remembering()
    async with replica(database, cured, tmp_path, owner="two") as (writer, requests):
        await wait_until_async(lambda: writer.dead_letters.changes is not None, what="an open spool")
        await requests.look()
        await wait_until_async(lambda: cured.keys == ["a"], what="the replayed record")
        (left,) = await listed(database)
        assert (left.key, left.instance_id, left.letter_id) == ("b", "two", found["b"].letter_id)


async def test_letters_that_were_dropped_from_the_folder_are_struck_off_the_list(
    database: Database, tmp_path: Path
) -> None:
    sink = Remembering()
    async with replica(database, sink, tmp_path) as (writer, requests):
        await refuse(writer, sink, "a")
        await requests.look()
    file = SpoolFile(tmp_path / "one.spool")
    assert file.drop([item.letter_id for item in file.dead_letters(10)]) == 1
    file.leave()
    async with replica(database, Remembering(), tmp_path, owner="two") as (writer, requests):
        await wait_until_async(lambda: writer.dead_letters.changes is not None, what="an open spool")
        await requests.look()
    assert await listed(database) == []


async def test_a_replay_for_a_sink_that_no_code_registers_is_answered(
    database: Database, tmp_path: Path
) -> None:
    file = SpoolFile(tmp_path / "one.spool")
    file.bury("removed", [DeadIntent("ValueError: no", body=encode(intent("k", sink="removed")))])
    file.close()
    async with replica(database, Remembering(), tmp_path, owner="two") as (writer, requests):
        await wait_until_async(lambda: writer.dead_letters.changes is not None, what="an open spool")
        await requests.look()
        (letter,) = await listed(database)
        await dead_letters.ask(database, letter.letter_id, LetterVerb.REPLAY, actor=_ANN)
        await requests.look()
        (letter,) = await listed(database)
        assert letter.asked is None
        assert "this application registers no sink 'removed'" in (letter.answer or "")


async def test_only_the_newest_are_listed_and_more_once_these_have_ended(
    database: Database, tmp_path: Path
) -> None:
    file = SpoolFile(tmp_path / "one.spool")
    for number in range(MOST + 20):
        file.bury("memory", [DeadIntent("no", body=encode(intent(number)))])
    newest = [item.letter_id for item in file.dead_letters(MOST)]
    file.close()
    async with replica(database, Remembering(), tmp_path, owner="two") as (writer, requests):
        await wait_until_async(lambda: writer.dead_letters.changes is not None, what="an open spool")
        await requests.look()
        assert [item.letter_id for item in await listed(database)] == newest
        results = await dead_letters.ask_for_all(database, LetterFilter(), LetterVerb.DROP, actor=_ANN)
        assert {item.result for item in results} == {"changed"}
        assert len(results) == MOST
        assert (await writer.dead_letters.counts())["memory"][0] == MOST + 20
        await requests.look()
        assert (await writer.dead_letters.counts())["memory"][0] == 20

        async def the_rest() -> bool:
            await requests.look()
            return len(await listed(database)) == 20

        await wait_until_async(the_rest, what="the rest to be listed")
