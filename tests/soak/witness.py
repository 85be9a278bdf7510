"""What replicas say of themselves, asked all the time, and where it was not so.

`/readyz` is what an operator of a cluster goes by. Two replicas that say at one moment that they lead, or one
that says so for long while nothing begins, are as much a violation as a run that is lost.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

import aiohttp

_EVERY_S = 0.2
_PATIENCE_S = 2.0
IDLE_S = 15.0
"""Each second something is due: a leader that begins nothing for so long does not lead."""


@dataclass(frozen=True, slots=True)
class Said:
    """An answer of `/readyz`, given between two moments, seconds since 1970; status 0: nobody answered."""

    replica: str
    asked_at: float
    answered_at: float
    status: int
    text: str

    @property
    def leads(self) -> bool:
        return self.status == 200 and self.text == "leader"


class Witness:
    """Asks every replica. `ports`: where each answers now; None: its process is not there."""

    def __init__(self, ports: Mapping[str, Callable[[], int | None]]) -> None:
        self._ports = ports
        self.said: list[Said] = []

    async def watch(self) -> None:
        """Ask again and again, until cancelled."""
        timeout = aiohttp.ClientTimeout(total=_PATIENCE_S)
        connector = aiohttp.TCPConnector(force_close=True)
        async with (
            aiohttp.ClientSession(timeout=timeout, connector=connector) as session,
            asyncio.TaskGroup() as group,
        ):
            for name, port in self._ports.items():
                group.create_task(self._watch(session, name, port))

    def said_by(self, replica: str, *, since: float) -> list[Said]:
        """Answers to what was asked after the moment `since`."""
        return [each for each in self.said if each.replica == replica and each.asked_at >= since]

    async def _watch(self, session: aiohttp.ClientSession, name: str, port: Callable[[], int | None]) -> None:
        while True:
            asked_at, status, text = time.time(), 0, ""
            at = port()
            if at is not None:
                with suppress(aiohttp.ClientError, OSError, TimeoutError):
                    async with session.get(f"http://127.0.0.1:{at}/readyz") as answer:
                        status, text = answer.status, (await answer.text()).strip()
            self.said.append(Said(name, asked_at, time.time(), status, text))
            await asyncio.sleep(_EVERY_S)


def untruths(said: Iterable[Said], starts: Iterable[float], *, idle_s: float = IDLE_S) -> list[str]:
    """Everything that replicas said and that was not so.

    - `starts`: when handlers began.
    - `idle_s`: how long a leader may begin nothing.
    """
    said = list(said)
    spans = list(_leading(said))
    return [*_two_led(said, spans), *_led_nothing(spans, sorted(starts), idle_s)]


def _leading(said: Iterable[Said]) -> Iterator[tuple[str, float, float]]:
    """From when until when which replica led for certain by its own word."""
    answers: dict[str, list[Said]] = defaultdict(list)
    for each in said:
        answers[each.replica].append(each)
    for replica, given in answers.items():
        began = ended = None
        for each in given:
            if each.leads:
                began = each.answered_at if began is None else began
                ended = each.asked_at
                continue
            if began is not None and ended is not None and ended > began:
                yield replica, began, ended
            began = ended = None
        if began is not None and ended is not None and ended > began:
            yield replica, began, ended


def _two_led(said: Iterable[Said], spans: Sequence[tuple[str, float, float]]) -> Iterator[str]:
    for each in said:
        for leader, began, ended in spans:
            during = began < each.asked_at and each.answered_at < ended
            if each.leads and each.replica != leader and during:
                yield f"{each.replica} said at {each.answered_at:.1f} that it leads, as {leader} did then"


def _led_nothing(
    spans: Iterable[tuple[str, float, float]], starts: Sequence[float], idle_s: float
) -> Iterator[str]:
    for replica, began, ended in spans:
        within = [began, *(at for at in starts if began < at < ended), ended]
        for earlier, later in pairwise(within):
            if later - earlier > idle_s:
                yield f"{replica} said from {earlier:.1f} to {later:.1f} that it leads, and began nothing"
