"""The law of the writer, over sequences of good and bad records, outages, kills and stops at random.

Each intent that was taken is delivered at least once, or lies in the dead letters with its error; of a
`memory` sink those may be missing that were in memory alone at a kill.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from piko.clock import SystemClock
from piko.observability.metrics import Metrics
from piko.persistence.intent import WriteIntent
from piko.persistence.sink_base import Durability
from piko.persistence.writer import PersistenceWriter
from tests.harness.programs import PikoProcessFactory
from tests.harness.waiting import wait_until_async
from tests.persistence.test_crash import PATHS
from tests.persistence.test_poison import dead_letters
from tests.persistence.writing import Remembering, intent, sample

Step = tuple[str, int]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["good", "bad"]), st.integers(1, 12)),
        st.tuples(st.sampled_from(["down", "up", "settle", "turn", "stop", "kill"]), st.just(0)),
    ),
    max_size=14,
)


class Choosy(Remembering):
    """Takes no record whose key begins with `bad`."""

    async def write_batch(self, batch: list[WriteIntent]) -> None:
        self.refuses = {item.key for item in batch if item.key.startswith("bad")}
        await super().write_batch(batch)


@dataclass
class World:
    """Lives of a writer on one spool."""

    folder: Path
    durability: Durability
    batch_size: int
    taken: set[str] = field(default_factory=set)
    delivered: set[str] = field(default_factory=set)
    may_be_lost: set[str] = field(default_factory=set)
    lives: int = 0
    down: bool = False

    async def begin(self) -> None:
        self.lives += 1
        self.metrics = Metrics()
        self.sink = Choosy(durability=self.durability, batch_size=self.batch_size, linger_s=0.001)
        self.sink.down = self.down
        self.writer = PersistenceWriter(clock=SystemClock(), metrics=self.metrics)
        self.writer.register_sink(self.sink)
        self.writer.prepare(folder=self.folder, fsync=False, owner=f"life{self.lives}")
        self.task = asyncio.create_task(self.writer.run())
        await asyncio.sleep(0)

    async def take(self, kind: str, count: int) -> None:
        for _ in range(count):
            key = f"{kind}-{len(self.taken)}"
            await self.writer.enqueue(intent(key, {"n": len(self.taken)}))
            self.taken.add(key)

    def turn_off(self) -> None:
        self.down = self.sink.down = True

    def turn_on(self) -> None:
        self.down = self.sink.down = False

    async def settle(self) -> None:
        """Wait until nothing is in memory alone, or everything has come to its end."""

        def quiet() -> bool:
            return not len(self.writer) or not self.in_memory

        await wait_until_async(quiet, what="what waits to be on disk", interval=0.005)

    @property
    def in_memory(self) -> set[str]:
        """What a kill costs now."""
        worker = self.writer._workers["memory"]
        if self.durability == "spooled":
            return set()
        known = self.delivered | {*self.sink.keys} | self.on_disk | self.may_be_lost
        return self.taken - known if len(worker) else set()

    @property
    def on_disk(self) -> set[str]:
        spool = self.writer._spool
        if spool is None or spool._file is None:
            return set()
        read = spool._thread.submit(
            lambda: spool._file._connection.execute(  # type: ignore[union-attr]
                "SELECT body FROM intent UNION ALL SELECT body FROM dead_letter"
            ).fetchall()
        )
        return {json.loads(body)[0] for (body,) in read.result()}

    @property
    def unsettled(self) -> set[str]:
        """What was neither delivered nor buried, though no kill may have cost it."""
        buried = {letter.names[0] for letter in dead_letters(self.folder)}
        return self.taken - self.delivered - {*self.sink.keys} - buried - self.may_be_lost

    async def stop(self) -> None:
        await self.writer.drain(0.02)
        await self._end()
        await self.writer.settle()
        await self.writer.close()
        await self.begin()

    async def kill(self) -> None:
        """End as kill -9 does: nothing more is written, and the kernel lets go of the lock."""
        lost = self.in_memory
        await self._end()
        self.may_be_lost |= lost - {*self.sink.keys}
        spool = self.writer._spool
        if spool is not None and spool._file is not None:
            await spool.call(spool._file._connection.close)
            os.close(spool._file._lock)
            spool._thread.shutdown()
        await self.begin()

    async def _end(self) -> None:
        opening = self.writer._opening
        if opening is not None:
            await asyncio.wait({opening})
        self.task.cancel()
        await asyncio.wait({self.task})
        self.delivered |= {*self.sink.keys}

    async def verdict(self) -> None:
        """Let all come back, show that the sink works, and compare."""
        self.turn_on()
        await self.take("good", 1)

        async def has_come_to_its_end() -> bool:
            if not len(self.writer) and not self.unsettled:
                return True
            await self.take("good", 1)  # what succeeds convicts what fails
            return False

        await wait_until_async(has_come_to_its_end, what="everything to be settled", interval=0.01)
        accounts = {
            outcome: sample(self.metrics, "piko_persistence_intents_total", sink="memory", outcome=outcome)
            for outcome in ("accepted", "delivered")
        }
        await self._end()
        await self.writer.settle()
        dead = {letter.names[0]: letter.error for letter in dead_letters(self.folder)}
        assert self.unsettled == set()
        assert accounts["accepted"] > 0
        assert {key for key in self.delivered if key.startswith("bad")} == set()
        assert {key for key in dead if key.startswith("good")} == set(), "good records are dead"
        assert all(error == f"ValueError: cannot write {key}" for key, error in dead.items())


ACTS: dict[str, Callable[[World, int], object]] = {
    "good": lambda world, count: world.take("good", count),
    "bad": lambda world, count: world.take("bad", count),
    "down": lambda world, _: world.turn_off(),
    "up": lambda world, _: world.turn_on(),
    "settle": lambda world, _: world.settle(),
    "turn": lambda _, __: asyncio.sleep(0.01),
    "stop": lambda world, _: world.stop(),
    "kill": lambda world, _: world.kill(),
}


@pytest.mark.usefixtures("slow")
# Not shrunk: each example is a second of real time.
@settings(max_examples=40, phases=[Phase.generate])
@given(
    steps=STEPS, durability=st.sampled_from(["memory", "spooled"]), batch_size=st.sampled_from([1, 3, 500])
)
def test_nothing_is_lost_in_silence(steps: list[Step], durability: Durability, batch_size: int) -> None:
    async def main(folder: Path) -> None:
        world = World(folder, durability, batch_size)
        await world.begin()
        for name, count in steps:
            outcome = ACTS[name](world, count)
            if asyncio.iscoroutine(outcome):
                await outcome
        await world.verdict()

    with tempfile.TemporaryDirectory() as name:
        asyncio.run(main(Path(name)))


KILLED = """
import asyncio, os, random, sys
from pathlib import Path
from tests.persistence.test_laws import Choosy
from tests.persistence.writing import intent, running

async def main():
    folder, owner, durability, evidence = sys.argv[1:]
    chance = random.Random(owner)
    delivered = os.open(evidence, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    sink = Choosy(durability=durability, batch_size=20)
    write = sink.write_batch
    async def evident(batch):
        await write(batch)
        os.write(delivered, "".join(f"{item.key}\\n" for item in batch).encode())
    sink.write_batch = evident
    sink.down = True
    async with running(sink, folder=Path(folder), owner=owner) as (writer, _):
        await writer.enqueue(intent(f"good-{owner}-first"))
        while not sink.called or writer._workers["memory"]._queue.loose:
            await asyncio.sleep(0.001)
        number = 0
        while True:  # the sink has failed, and takes nothing: from now on all is on disk when it is taken
            kind = "bad" if chance.random() < 0.2 else "good"
            await writer.enqueue(intent(f"{kind}-{owner}-{number}", {"n": number}))
            os.write(1, f"taken {kind}-{owner}-{number}\\n".encode())
            number += 1

asyncio.run(main())
"""


@pytest.mark.parametrize("durability", ["memory", "spooled"])
async def test_kill_9_in_an_outage_costs_nothing(
    durability: Durability, piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    spool, evidence = tmp_path / "spool", tmp_path / "delivered"
    taken: set[str] = set()
    for life in ("a", "b", "c"):
        process = piko_process(
            str(script), str(spool), life, durability, str(evidence), env=PATHS, name=f"life {life}"
        )
        await asyncio.to_thread(process.wait_for_line, f"-{life}-200")
        process.kill()
        lines = process.output.splitlines(keepends=True)
        taken |= {line.split()[1] for line in lines if line.startswith("taken ") and line.endswith("\n")}
    world = World(spool, durability, 20, taken=taken)
    await world.begin()
    await world.verdict()
    assert len(world.delivered) > 400
    assert len(dead_letters(spool)) > 50
