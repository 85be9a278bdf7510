"""Sinks in a soak: records that they refuse, outages, and the judge of what they were given.

Handlers note each intent that was taken, sinks each that they wrote, in files that no failure reaches. A sink
is down while the file `sinks-down` lies beside them. At the end every intent was delivered, or is a dead
letter with the sink's own error; a good one is never dead. Of a `memory` sink those may be missing that had
just been taken when their process was killed.

Good records have to arrive by themselves. Of bad ones alone no replica can tell whether they are bad or its
sink is down, and a standby gets nothing else: so the judge has good ones written on every replica while bad
ones wait there (`SHOW`), as a person would.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from piko import PikoApp
from piko.persistence.intent import WriteIntent
from piko.persistence.sink_base import Durability, ResultSink
from piko.spool.intents import look
from tests.harness.lines import whole_lines
from tests.harness.waiting import wait_until_async

ENVIRONMENT = {"SOAK_SINKS": "1"}
IN_FLIGHT_S = 25.0
"""So long a frozen or blocked process may hold what it has taken before a working sink gets it."""
SHOW = "/show-that-sinks-work"
_DOWN = "sinks-down"
_EVERY_NTH_IS_BAD = 7
_SETTLE_S = 90
_SHOW_S = 5.0


class SoakSink(ResultSink):
    """Writes to the evidence; refuses what is bad, and everything while the sinks are down."""

    max_backoff_s = 2.0

    def __init__(self, name: str, *, folder: Path, durability: Durability) -> None:
        super().__init__(name, durability=durability)
        self._folder = folder
        self._written = _evidence(folder, "written")

    async def write_batch(self, batch: list[WriteIntent]) -> None:
        if (self._folder / _DOWN).exists():
            raise ConnectionError("the sink is down")
        for item in batch:
            if item.key.startswith("bad"):
                raise ValueError(f"cannot write {item.key}")
        os.write(self._written, "".join(f"{self.name} {item.key}\n" for item in batch).encode())


class Producer:
    """What the handlers of one replica write."""

    def __init__(self, app: PikoApp, folder: Path) -> None:
        self._app = app
        self._count = 0
        self._taken = _evidence(folder, "taken")
        for durability in ("memory", "spooled"):
            app.writer.register_sink(SoakSink(durability, folder=folder, durability=durability))
        atexit.register(self._note, what="ended")
        app.api_app.post(SHOW)(self.show)

    async def write(self, ctx: Any, scheduled_time: Any) -> None:
        """One record for each sink."""
        for sink in ("memory", "spooled"):
            self._count += 1
            kind = "good" if self._count % _EVERY_NTH_IS_BAD else "bad"
            await self._take(sink, kind, job_id=ctx["job_id"], run_id=ctx["run_id"], at=scheduled_time)

    async def show(self) -> None:
        """One good record for each sink, outside of any run."""
        for sink in ("memory", "spooled"):
            self._count += 1
            await self._take(sink, "good", job_id="shown", run_id="shown", at=datetime.now(UTC))

    async def _take(self, sink: str, kind: str, *, job_id: str, run_id: str, at: datetime) -> None:
        key = f"{kind}-{os.getpid()}-{self._count}"
        await self._app.writer.enqueue(
            WriteIntent(
                sink=sink,
                key=key,
                payload={"number": self._count},
                job_id=job_id,
                run_id=run_id,
                scheduled_time=at,
            )
        )
        self._note(what="taken", sink=sink, key=key)

    def _note(self, **facts: Any) -> None:
        line = json.dumps({**facts, "pid": os.getpid(), "at": time.time()})
        os.write(self._taken, f"{line}\n".encode())


def _evidence(folder: Path, name: str) -> int:
    return os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)


# ---- from outside ------------------------------------------------------------------------------------


class Outages:
    """Lets the sinks of all replicas be down for a while, beside whatever else fails."""

    def __init__(self, folder: Path) -> None:
        self._down = folder / _DOWN
        self._ending: asyncio.Task[None] | None = None

    def begin(self, seconds: float) -> None:
        if self._ending is None or self._ending.done():
            self._down.touch()
            self._ending = asyncio.create_task(self._end(seconds), name="sinks come back")

    async def _end(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._down.unlink()

    async def over(self) -> None:
        if self._ending is not None:
            await self._ending


@dataclass(frozen=True, slots=True)
class Taken:
    """An intent that was taken; `at`: seconds since 1970."""

    sink: str
    key: str
    pid: int
    at: float

    @property
    def is_bad(self) -> bool:
        return self.key.startswith("bad")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What handlers and sinks noted, and what lies in the spools."""

    taken: list[Taken]
    written: set[tuple[str, str]]
    dead: Mapping[tuple[str, str], str]
    last_sign: Mapping[int, float]
    """When a process noted anything for the last time."""
    ended: set[int]
    """Processes that came to their own end."""


def evidence(folder: Path) -> Evidence:
    """Of a soak in `folder`."""
    notes = [json.loads(line) for line in whole_lines(folder / "taken")]
    dead = {
        (letter.sink, letter.names[0]): letter.error
        for path in folder.glob("*/.piko/spool/*.spool")
        for letter in look(path)[1]
    }
    last_sign: dict[int, float] = {}
    for note in notes:
        last_sign[note["pid"]] = note["at"]
    return Evidence(
        taken=[
            Taken(note["sink"], note["key"], note["pid"], note["at"])
            for note in notes
            if note["what"] == "taken"
        ],
        written={
            (sink, key) for sink, _, key in (line.partition(" ") for line in whole_lines(folder / "written"))
        },
        dead=dead,
        last_sign=last_sign,
        ended={note["pid"] for note in notes if note["what"] == "ended"},
    )


def missing(found: Evidence) -> Iterator[Taken]:
    """What neither arrived nor is dead, nor was in flight when its process was killed."""
    for item in found.taken:
        place = item.sink, item.key
        if place in found.written or place in found.dead:
            continue
        killed = item.pid not in found.ended
        in_flight = found.last_sign[item.pid] - item.at < IN_FLIGHT_S
        if not (item.sink == "memory" and killed and in_flight):
            yield item


def lost(found: Evidence) -> Iterator[str]:
    """What is `missing`, in words."""
    for item in missing(found):
        yield f"{item.key} for sink {item.sink}, taken at {item.at:.1f}, was neither delivered nor buried"


def misjudged(found: Evidence) -> Iterator[str]:
    """Good records that are dead, bad ones without the sink's error."""
    for (sink, key), error in found.dead.items():
        if error != f"ValueError: cannot write {key}" or not key.startswith("bad"):
            yield f"{key} is a dead letter of sink {sink}: {error}"


async def assessed(folder: Path, *, ports: Sequence[Callable[[], int | None]]) -> list[str]:
    """Every way in which intents did not end as promised, after some time to end.

    `ports`: where each replica answers now; None: its process is not there.
    """

    async def all_ended() -> bool:
        waiting = list(missing(await asyncio.to_thread(evidence, folder)))
        if waiting and all(item.is_bad for item in waiting):
            await _show_that_sinks_work(ports)
        return not waiting

    try:
        await wait_until_async(all_ended, timeout=_SETTLE_S, what="all intents to end", interval=1.0)
    except AssertionError:
        print("not all intents have ended")  # the judge says of each what is wrong
    found = await asyncio.to_thread(evidence, folder)
    print(reported(found))
    return [*lost(found), *misjudged(found)]


async def _show_that_sinks_work(ports: Sequence[Callable[[], int | None]]) -> None:
    timeout = aiohttp.ClientTimeout(total=_SHOW_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        for at in filter(None, (port() for port in ports)):
            with suppress(aiohttp.ClientConnectionError, TimeoutError):  # it is asked again
                async with session.post(f"http://127.0.0.1:{at}{SHOW}") as answer:
                    if answer.status != 200:
                        print(f"port {at} took no good record: {answer.status} {await answer.text()}")


def reported(found: Evidence) -> str:
    arrived = _count(found, found.written)
    return f"intents: taken {len(found.taken)}, delivered {arrived}, dead letters {_count(found, found.dead)}"


def _count(found: Evidence, places: Iterable[tuple[str, str]]) -> int:
    return len({(item.sink, item.key) for item in found.taken} & set(places))
