"""The loop of periodic parts: when the next round comes, and after which errors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piko.background.backoff import Backoff
from piko.background.periodic import Transient, repeat
from piko.background.waiting import first_of, happens
from tests.harness.waiting import wait_until_async

NEVER_S = 3600.0
"""A pause that no test waits for."""


class Rounds:
    """Counts rounds; each raises the next of `errors`, if there is one."""

    def __init__(self, errors: Iterable[Exception] = ()) -> None:
        self.count = 0
        self._errors = iter(errors)

    async def __call__(self) -> None:
        self.count += 1
        if (error := next(self._errors, None)) is not None:
            raise error

    async def reach(self, count: int) -> None:
        await wait_until_async(lambda: self.count >= count, what=f"round {count}", interval=0.001)


@asynccontextmanager
async def running(*args: Any, **options: Any) -> Any:
    loop = asyncio.create_task(repeat(*args, **options))
    try:
        yield loop
    finally:
        loop.cancel()
        await asyncio.wait({loop})


async def turns(number: int = 20) -> None:
    """Let everything run that can run without time passing."""
    for _ in range(number):
        await asyncio.sleep(0)


async def test_the_first_round_is_at_once_and_the_next_after_each_pause() -> None:
    rounds = Rounds()
    async with running(rounds, pause_s=0.001):
        await rounds.reach(5)


async def test_the_pause_is_asked_for_after_each_round() -> None:
    rounds, pauses = Rounds(), iter([0.0, 0.0, 0.0, NEVER_S])
    async with running(rounds, pause_s=lambda: next(pauses)):
        await rounds.reach(4)
        await turns()
        assert rounds.count == 4


async def test_an_event_ends_the_pause_and_counts_once() -> None:
    rounds, wake = Rounds(), asyncio.Event()
    async with running(rounds, pause_s=lambda: None, wake=wake):
        await rounds.reach(1)
        await turns()
        assert rounds.count == 1
        wake.set()
        await rounds.reach(2)
        await turns()
        assert (rounds.count, wake.is_set()) == (2, False)


async def test_what_arrives_during_a_round_causes_another_one() -> None:
    wake = asyncio.Event()
    seen: list[int] = []

    async def once() -> None:
        seen.append(len(seen))
        if len(seen) == 1:
            wake.set()  # too late for this round
            await asyncio.sleep(0)

    async with running(once, pause_s=NEVER_S, wake=wake):
        await wait_until_async(lambda: len(seen) == 2, what="the second round")
        await turns()
        assert len(seen) == 2


async def test_what_is_transient_is_reported_and_the_loop_goes_on() -> None:
    reported: list[str] = []
    rounds = Rounds([OSError("one"), OSError("two")])
    away = Transient(
        errors=(OSError,), report=lambda error: reported.append(str(error)), backoff=Backoff.steady(0.001)
    )
    async with running(rounds, pause_s=0.001, transient=[away]):
        await rounds.reach(4)
    assert reported == ["one", "two"]


async def test_each_error_is_reported_by_who_expects_it_first() -> None:
    reported: list[str] = []
    rounds = Rounds([TimeoutError(), ValueError(), ConnectionError()])
    transient = [
        Transient(errors=(ConnectionError, TimeoutError), report=lambda _: reported.append("network")),
        Transient(errors=(OSError, ValueError), report=lambda _: reported.append("other")),
    ]
    async with running(rounds, pause_s=0.001, transient=transient):
        await rounds.reach(4)
    assert reported == ["network", "other", "network"]


async def test_no_event_cuts_the_pause_after_a_failure_short() -> None:
    rounds, wake = Rounds([OSError()]), asyncio.Event()
    away = Transient(errors=(OSError,), report=lambda _: None, backoff=Backoff.steady(NEVER_S))
    async with running(rounds, pause_s=0.001, wake=wake, transient=[away]):
        await rounds.reach(1)
        for _ in range(10):
            wake.set()
            await turns()
        assert rounds.count == 1


async def test_pauses_grow_while_rounds_fail_and_begin_again_after_one_that_worked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    class Settled(Rounds):
        async def __call__(self) -> None:
            if self.count == 4:
                self.count += 1
                return
            await super().__call__()

    rounds = Settled(OSError() for _ in range(6))
    away = Transient(errors=(OSError,), report=lambda _: None, backoff=Backoff(first_s=1, longest_s=3))
    monkeypatch.setattr(asyncio, "sleep", note)
    async with running(rounds, pause_s=7.0, transient=[away]):
        while rounds.count < 7:
            await sleep(0.001)
    assert pauses[:7] == [1, 2, 3, 3, 7, 1, 2]


async def test_what_nobody_expects_ends_the_loop() -> None:
    away = Transient(errors=(OSError,), report=lambda _: None)
    with pytest.raises(KeyError, match="a defect"):
        await repeat(Rounds([OSError(), KeyError("a defect")]), pause_s=0.001, transient=[away])


async def test_rounds_without_a_pause_let_others_run() -> None:
    async with running(Rounds(), pause_s=0.0):
        await asyncio.sleep(0.001)  # it would never return


async def test_cancelling_ends_the_loop_in_a_round_and_in_a_pause() -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    for once, pause in ((hang, 0.001), (Rounds(), NEVER_S)):
        loop = asyncio.create_task(repeat(once, pause_s=pause))
        await turns()
        loop.cancel()
        await asyncio.wait({loop})
        assert loop.cancelled()


# ---- pauses, waits --------------------------------------------------------------------------------


@given(first=st.floats(0.001, 100), factor=st.floats(1, 1e6), failures=st.integers(1, 10**9))
def test_pauses_never_shrink_and_keep_their_bounds(first: float, factor: float, failures: int) -> None:
    backoff = Backoff(first_s=first, longest_s=first * factor)
    assert first <= backoff.pause_s(failures) <= backoff.pause_s(failures + 1) <= first * factor
    assert Backoff.steady(first).pause_s(failures) == first


async def test_what_happens_in_time_is_distinguished_from_what_does_not() -> None:
    event = asyncio.Event()
    assert not await happens(event.wait(), within_s=0.001)
    event.set()
    assert await happens(event.wait(), within_s=None)


async def raises(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("wait", [lambda what: happens(what, within_s=None), first_of])
@pytest.mark.parametrize("error", [TimeoutError("its own"), ValueError("no")])
async def test_an_error_of_what_is_awaited_is_raised(
    wait: Callable[[Awaitable[object]], Awaitable[object]], error: Exception
) -> None:
    with pytest.raises(type(error), match=str(error)):
        await wait(raises(error))


async def test_the_others_are_given_up_when_the_first_is_done() -> None:
    ended = asyncio.Event()

    async def never() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    await first_of(never(), asyncio.sleep(0.001))
    assert ended.is_set()
