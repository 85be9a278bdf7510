"""What the writer promises: batches, backpressure, sinks that do not disturb one another, nothing lost."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from piko.errors import PayloadError, RegistrationError, SpoolError
from piko.persistence.sink_base import ResultSink, TypedSink, on
from piko.persistence.writer import PersistenceWriter
from piko.spool.intents import SpoolFile
from tests.harness.waiting import wait_until_async
from tests.persistence.writing import Remembering, intent, running, sample, spool_files

DURABILITIES = pytest.mark.parametrize("durability", ["memory", "spooled"])


@DURABILITIES
async def test_every_intent_arrives_once_and_in_order(durability: str, tmp_path: Path) -> None:
    sink = Remembering(durability=durability, batch_size=40)
    async with running(sink, folder=tmp_path) as (writer, metrics):
        for number in range(500):
            await writer.enqueue(intent(number, {"n": number}))
    assert sink.keys == [str(number) for number in range(500)]
    assert max(len(batch) for batch in sink.batches) <= 40
    assert sample(metrics, "piko_persistence_intents_total", sink="memory", outcome="delivered") == 500
    assert sample(metrics, "piko_persistence_queue_size", sink="memory") == 0


async def test_batches_fill_up_instead_of_going_out_one_by_one(tmp_path: Path) -> None:
    sink = Remembering(batch_size=100, linger_s=0.05)
    async with running(sink, folder=tmp_path) as (writer, _):
        await asyncio.gather(*(writer.enqueue(intent(number)) for number in range(300)))
    assert [len(batch) for batch in sink.batches] == [100, 100, 100]


@DURABILITIES
async def test_a_batch_holds_no_more_bytes_than_it_may(durability: str, tmp_path: Path) -> None:
    sink = Remembering(durability=durability, batch_bytes=10_000, linger_s=0.05)
    payloads = ["x" * 3_000] * 4 + [{"text": "y" * 20_000}, ["z" * 4_000, "z" * 4_000], "small"]
    async with running(sink, folder=tmp_path) as (writer, _):
        await writer.enqueue_many([intent(number, payload) for number, payload in enumerate(payloads)])
    assert sink.keys == [str(number) for number in range(7)]
    assert [len(batch) for batch in sink.batches] == [3, 1, 1, 2]


async def test_a_full_queue_holds_its_producers_back(tmp_path: Path) -> None:
    sink = Remembering(queue_size=10, batch_size=5)
    sink.hangs = True
    async with running(sink, folder=tmp_path) as (writer, _):
        producer = asyncio.create_task(_produce(writer, 100))
        await wait_until_async(lambda: sink.called, what="the sink to be tried")
        await asyncio.sleep(0.1)
        assert len(writer) <= 10 + 5
        assert not producer.done()
        sink.released.set()
        await producer
    assert sorted(map(int, sink.keys)) == list(range(100))


async def test_what_was_acknowledged_does_not_change_with_what_its_handler_holds(tmp_path: Path) -> None:
    sink = Remembering(durability="spooled", linger_s=0.2)
    async with running(sink, folder=tmp_path) as (writer, _):
        payloads: list[dict[str, Any]] = [{"n": 1}, {"n": [1]}]
        for payload in payloads:
            await writer.enqueue(intent("a", payload))
            payload["n"] = 2
    assert [item.payload for batch in sink.batches for item in batch] == [{"n": 1}, {"n": [1]}]


async def test_a_backlog_larger_than_the_queue_is_read_from_disk_once_and_in_order(tmp_path: Path) -> None:
    sink = Remembering(durability="spooled", queue_size=20, batch_size=7)
    sink.down = True
    numbers = range(200)
    async with running(sink, folder=tmp_path) as (writer, _):
        for number in numbers:  # some have to be read again, some are cached
            await writer.enqueue(intent(number, {"n": [number] if number % 9 == 0 else number}))
        assert len(writer) == 200
        sink.down = False
        await wait_until_async(lambda: len(writer) == 0, what="the backlog to be delivered")
    assert sink.keys == [str(number) for number in numbers]
    assert spool_files(tmp_path) == []


async def _produce(writer: PersistenceWriter, count: int) -> None:
    for number in range(count):
        await writer.enqueue(intent(number))


@pytest.mark.parametrize("trouble", ["down", "hangs"])
async def test_a_sink_in_trouble_delays_no_other(trouble: str, tmp_path: Path) -> None:
    bad, good = Remembering("bad", timeout_s=0.2), Remembering("good")
    setattr(bad, trouble, True)
    async with running(bad, good, folder=tmp_path) as (writer, _):
        for number in range(50):
            await writer.enqueue(intent(number, sink="bad"))
            await writer.enqueue(intent(number, sink="good"))
        await wait_until_async(lambda: len(good.keys) == 50, what="the good sink to have everything")
        await wait_until_async(lambda: "bad" in writer.failing, what="the bad sink to be named")
        assert bad.keys == []
        setattr(bad, trouble, False)
    assert sorted(map(int, bad.keys)) == list(range(50))


@DURABILITIES
async def test_one_bad_record_never_takes_its_batch_along(durability: str, tmp_path: Path) -> None:
    sink = Remembering(durability=durability, batch_size=100)
    sink.refuses = {"13", "77"}
    async with running(sink, folder=tmp_path) as (writer, metrics):
        await writer.enqueue_many([intent(number, {"n": number}) for number in range(100)])
    assert sorted(map(int, sink.keys)) == [number for number in range(100) if number not in (13, 77)]
    assert sample(metrics, "piko_persistence_dead_letter_total", sink="memory") == 2
    (path,) = spool_files(tmp_path)
    file = SpoolFile(path)
    assert sorted(letter.error for letter in file.dead_letters(10)) == [
        "ValueError: cannot write 13",
        "ValueError: cannot write 77",
    ]
    file.close()


async def test_dead_letters_survive_a_restart_and_can_be_replayed(tmp_path: Path) -> None:
    sink = Remembering(durability="spooled")
    sink.refuses = {"1"}
    async with running(sink, folder=tmp_path) as (writer, _):
        await writer.enqueue_many([intent(number) for number in range(3)])
    (path,) = spool_files(tmp_path)
    file = SpoolFile(path)
    assert file.replay([letter.letter_id for letter in file.dead_letters(10)]) == 1
    file.close()
    cured = Remembering(durability="spooled")
    async with running(cured, folder=tmp_path, owner="two"):
        await wait_until_async(lambda: cured.keys == ["1"], what="the letter to be delivered")
    assert spool_files(tmp_path) == []


@DURABILITIES
async def test_a_sink_that_is_down_until_the_stop_gets_everything_after_the_next_start(
    durability: str, tmp_path: Path
) -> None:
    sink = Remembering(durability=durability)
    sink.down = True
    async with running(sink, folder=tmp_path, budget_s=0.05) as (writer, metrics):
        await writer.enqueue_many([intent(number) for number in range(20)])
    assert sample(metrics, "piko_persistence_dead_letter_total", sink="memory") == 0
    recovered = Remembering(durability=durability)
    async with running(recovered, folder=tmp_path, owner="two") as (_, metrics):
        await wait_until_async(lambda: len(recovered.keys) == 20, what="what was left")
        assert sample(metrics, "piko_persistence_recovered_total", sink="memory") == 20
    assert sorted(map(int, recovered.keys)) == list(range(20))


async def test_intents_that_arrive_during_a_write_to_disk_share_the_next(tmp_path: Path) -> None:
    sink = Remembering(durability="spooled")
    async with running(sink, folder=tmp_path) as (writer, _):
        spool = await writer._opened()
        puts: list[int] = []
        put = spool.put

        async def counted(rows: list[tuple[str, str]]) -> list[int]:
            puts.append(len(rows))
            return await put(rows)

        spool.put = counted  # type: ignore[method-assign,assignment]
        await asyncio.gather(*(writer.enqueue(intent(number)) for number in range(200)))
    assert sum(puts) == 200
    assert len(puts) <= 3


async def test_a_spool_that_cannot_be_used_refuses_what_it_cannot_keep(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file where the folder should be")
    sink = Remembering(durability="spooled")
    metrics_and_writer = running(sink, folder=tmp_path / "spool")
    with pytest.raises(SpoolError, match=r"setting `spool_dir` = .*cannot be created"):
        async with metrics_and_writer as (writer, _):
            await writer.enqueue(intent(1))


# ---- what is refused at once ----------------------------------------------------------------------


class User(BaseModel):
    id: int


class Admin(User):
    rights: list[str] = []


class Visit(BaseModel):
    page: str


class Typed(TypedSink):
    def __init__(self) -> None:
        super().__init__(name="typed")
        self.users: list[User] = []
        self.visits: list[Visit] = []

    @on(User)
    async def write_users(self, users: list[User]) -> None:
        self.users.extend(users)

    @on(Visit)
    async def write_visits(self, visits: list[Visit]) -> None:
        self.visits.extend(visits)


async def test_a_typed_sink_gives_each_payload_to_the_method_of_its_type(tmp_path: Path) -> None:
    sink = Typed()
    async with running(sink, folder=tmp_path) as (writer, _):
        await writer.enqueue(intent("u", User(id=1), sink="typed"))
        await writer.enqueue(intent("a", Admin(id=2), sink="typed"))
        await writer.enqueue(intent("v", [Visit(page="/"), User(id=3)], sink="typed"))
    assert sink.users == [User(id=1), Admin(id=2), User(id=3)]
    assert sink.visits == [Visit(page="/")]


async def test_a_payload_that_nobody_writes_is_refused_when_it_is_enqueued(tmp_path: Path) -> None:
    async with running(Typed(), folder=tmp_path) as (writer, _):
        with pytest.raises(
            PayloadError, match=r"no @on method for a payload of builtins.dict; it writes User, Visit"
        ):
            await writer.enqueue(intent(1, {"id": 1}, sink="typed"))
        with pytest.raises(PayloadError, match="no sink 'other' is registered; registered sinks: typed"):
            await writer.enqueue(intent(1, sink="other"))


def test_two_methods_for_one_model_are_refused_when_the_class_is_made() -> None:
    with pytest.raises(RegistrationError, match=r"first and second are both @on\(User\); keep one"):

        class Twice(TypedSink):
            @on(User)
            async def first(self, users: list[User]) -> None: ...

            @on(User)
            async def second(self, users: list[User]) -> None: ...


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"durability": "eternal"}, "durability = 'eternal'; expected 'memory' or 'spooled'"),
        ({"batch_size": 0}, "batch_size = 0 must be positive"),
        ({"bach_size": 5}, "unknown option 'bach_size'; known options: durability, queue_size, batch_size"),
    ],
)
def test_an_option_that_cannot_work_is_refused_when_the_sink_is_made(
    options: dict[str, object], message: str
) -> None:
    with pytest.raises(RegistrationError, match=message):
        Remembering("x", **options)


def test_two_sinks_of_one_name_and_things_that_are_no_sinks_are_refused(tmp_path: Path) -> None:
    from piko import PikoApp

    app = PikoApp("x")
    app.writer.register_sink(Remembering("one"))
    with pytest.raises(RegistrationError, match="sink 'one' is already registered"):
        app.writer.register_sink(Remembering("one"))
    with pytest.raises(RegistrationError, match="expected an instance of a subclass of ResultSink"):
        app.writer.register_sink(ResultSink)  # type: ignore[arg-type]
