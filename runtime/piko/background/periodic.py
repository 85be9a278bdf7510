"""The loop of a part that does the same thing again and again: a round, a pause, the next round.

**The pause is an upper bound.** A part is level-triggered: each round looks at everything that concerns it,
so nothing is lost where a hint never comes.

**An event is a hint to look sooner.** It is cleared before a round begins, not after: what arrives during a
round may have come too late for it, and must cause another one.

**Some errors are expected**: a database that restarts, an API server that is upgraded. A part names them,
says what it has to say, and the loop goes on after a pause of its own (`Backoff`). No event cuts that pause
short; otherwise the more work there is, the more often a server that is down would be asked. Any other error
ends the loop, and the supervisor starts the part again, counts it and turns readiness red.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from piko.background.backoff import Backoff
from piko.background.waiting import happens

Pause = float | Callable[[], float | None]
"""Seconds until the next round, or what says so after each round; None: until the event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transient:
    """Errors that a part expects to pass.

    `report` is called with each of them. `backoff` is the pause that follows; None: the loop's usual one.
    """

    errors: tuple[type[Exception], ...]
    report: Callable[[Exception], None]
    backoff: Backoff | None = None


async def repeat(
    once: Callable[[], Awaitable[object]],
    *,
    pause_s: Pause,
    wake: asyncio.Event | None = None,
    transient: Sequence[Transient] = (),
) -> NoReturn:
    """Call `once` until cancelled, the first time at once, then after each pause or when `wake` is set.

    Raises what `once` raises, unless one of `transient` expects it.
    """
    failures = 0
    while True:
        if wake is not None:
            wake.clear()
        try:
            await once()
        except _errors_of(transient) as error:
            failures += 1
            backoff = _report(transient, error)
            if backoff is not None:
                await asyncio.sleep(backoff.pause_s(failures))
                continue
        else:
            failures = 0
        await _pause(pause_s() if callable(pause_s) else pause_s, wake)


def _errors_of(transient: Sequence[Transient]) -> tuple[type[Exception], ...]:
    return tuple(error for expected in transient for error in expected.errors)


def _report(transient: Sequence[Transient], error: Exception) -> Backoff | None:
    """Have the part that expected `error` say so; how it backs off."""
    expected = next(item for item in transient if isinstance(error, item.errors))
    expected.report(error)
    return expected.backoff


async def _pause(seconds: float | None, wake: asyncio.Event | None) -> None:
    if seconds == 0 or (wake is not None and wake.is_set()):
        await asyncio.sleep(0)  # rounds that follow each other at once still let others run
    elif wake is not None:
        await happens(wake.wait(), within_s=seconds)
    else:
        assert seconds is not None, "without an event, a pause has an end"
        await asyncio.sleep(seconds)
