"""How a replica stops: a table of steps, each with a budget.

No more claims first; then leadership is handed over, so that another replica goes on at once; then the
handlers that run get their time, and then what they left is written. They end under the epoch they began
under: leadership that was released, not taken away, leaves an instance its own runs (`InstanceFence`).

A step that fails, or takes longer than its budget, is logged under its event, and the next one follows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from piko.background.supervisor import Supervisor
from piko.observability.logs import get_logger
from piko.replica.parts import Parts
from piko.text import error_text

_CLAIM_S = 5.0
_FLUSH_S = 5.0
_WRITER_S = 5.0
_HAND_OVER_S = 5.0
_SETTLE_S = 0.3

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StopStep:
    """One step of a stop.

    `within_s`: after so many seconds it is broken off; None: it keeps to a budget of its own.
    `otherwise`: the event that is logged where it fails or is broken off.
    """

    what: str
    do: Callable[[], Awaitable[object]]
    within_s: float | None = None
    otherwise: str = "stop_step_failed"


def steps(parts: Parts, *, supervisor: Supervisor) -> tuple[StopStep, ...]:
    """The steps of a stop, in order. What still runs after them is cancelled."""
    ledger = parts.ledger
    return (
        _step("finish the claim", parts.scheduler.stop_claiming, _CLAIM_S, "claim_cut_off"),
        _end(supervisor, parts.scheduler.name),
        *_stop_fetching(parts, supervisor),
        _end(supervisor, parts.elector.name),
        _step("record outcomes first", ledger.flushed, _SETTLE_S, "outcomes_follow_later"),
        _step("hand leadership over", partial(_hand_over, parts), _HAND_OVER_S, "not_handed_over"),
        _step("drain handlers", partial(parts.executor.drain, parts.limits.drain_s)),
        _step("drain sinks", partial(parts.writer.drain, _WRITER_S)),
        _end(supervisor, parts.writer.name),
        _step("record outcomes", ledger.flushed, _FLUSH_S, "outcomes_not_written"),
        _step("note refused records", parts.refusals.report, _FLUSH_S, "refusals_not_reported"),
        _step("sign off", partial(_sign_off, parts, supervisor), _HAND_OVER_S, "not_signed_off"),
    )


async def take(table: Sequence[StopStep]) -> None:
    """Take the steps, one after the other, whatever each comes to."""
    for step in table:
        try:
            async with asyncio.timeout(step.within_s):
                await step.do()
        except Exception as error:  # noqa: BLE001 - the stop goes on, whatever it was
            why = "no answer in time" if isinstance(error, TimeoutError) else error_text(error)
            log.error(step.otherwise, step=step.what, waited_s=step.within_s, error=why)


def _step(
    what: str,
    do: Callable[[], Awaitable[object]],
    within_s: float | None = None,
    otherwise: str = "stop_step_failed",
) -> StopStep:
    return StopStep(what=what, do=do, within_s=within_s, otherwise=otherwise)


def _end(supervisor: Supervisor, name: str) -> StopStep:
    return StopStep(what=f"end {name}", do=partial(supervisor.stop, name))


def _stop_fetching(parts: Parts, supervisor: Supervisor) -> tuple[StopStep, ...]:
    if parts.fetcher is None:
        return ()
    return (
        _step("finish the fetch", parts.fetcher.stop_fetching, _CLAIM_S, "fetching_cut_off"),
        _end(supervisor, parts.fetcher.name),
    )


async def _hand_over(parts: Parts) -> None:
    await parts.elector.release()
    if parts.crash_watch is not None:  # a standby that waits for the lock looks at the lease at once
        parts.crash_watch.replace_lock()


async def _sign_off(parts: Parts, supervisor: Supervisor) -> None:
    await supervisor.stop(parts.heartbeat.name)
    if parts.crash_watch is not None:  # this is no crash: what is on disk waits for the next process
        await supervisor.stop(parts.crash_watch.name)
        await parts.crash_watch.withdraw()
    if not len(parts.ledger):  # else a leader would give up runs whose ends are on disk
        await parts.instances.stop(parts.instance)
