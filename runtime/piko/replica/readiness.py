"""Whether a replica can do its part: a pure function of what its parts say.

`ReplicaState` is what they said at one moment. Readiness asks whether the replica can do its part now, and is
red with a reason for as long as it cannot; liveness asks whether only a new process would help, and is rarely
red: one that waits for its database is alive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from piko.text import excerpt

_REASON_LIMIT = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether a replica can do its part. `role` is `leader` or `standby`."""

    ready: bool
    role: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaState:
    """What the parts of a replica say; the defaults are those of one that is well. Durations are seconds."""

    leads: bool = False
    """Whether it may claim now."""
    stopping: bool = False
    over: bool = False
    """Whether its life has ended."""
    ended_parts: tuple[str, ...] = ()
    """Parts that returned although nothing stopped them."""
    waits_for: str | None = None
    """What it waits for before its parts start."""
    failing_parts: Mapping[str, str] = field(default_factory=dict)
    """The error of each part that is to be started again."""
    refusal: str | None = None
    """What the database says to everything that is written."""
    blocked_s: float = 0.0
    blocked_by: str | None = None
    """Who keeps the event loop from turning, and for how long."""
    unkept: str | None = None
    """Why outcomes cannot be put on disk."""
    full: bool = False
    """Whether no more outcomes fit into memory either."""
    stale_since: datetime | None = None
    stale_reason: str | None = None
    """Since when the rows could not be read, and why."""
    silent_s: float = 0.0
    """How long a statement has been waiting for its answer; one that hangs fails much later."""
    silent_limit_s: float = float("inf")
    loaded: bool = True
    """Whether the rows have been read."""
    election: str | None = None
    """Why it cannot do its part in the election."""


def readiness(state: ReplicaState) -> Readiness:
    """Whether a replica in `state` can do its part, and each reason why it cannot."""
    reasons = tuple(excerpt(reason, limit=_REASON_LIMIT) for reason in _reasons(state))
    return Readiness(ready=not reasons, role="leader" if state.leads else "standby", reasons=reasons)


def liveness(state: ReplicaState, *, fatal_s: float) -> tuple[str, ...]:
    """Why only a new process helps; empty: it does what it can.

    `fatal_s`: for how long the event loop may be blocked.
    """
    ended = () if state.stopping else ("replica",) if state.over else state.ended_parts
    if ended:
        return (f"parts that ended unexpectedly: {', '.join(ended)}",)
    if state.blocked_by is not None and state.blocked_s >= fatal_s:
        return (f"the event loop of the jobs has been blocked for {state.blocked_s:.0f} s",)
    return ()


def _reasons(state: ReplicaState) -> Iterator[str]:
    if state.stopping:
        yield "stopping"
    elif state.waits_for is not None:
        yield state.waits_for
    else:
        for trouble in _TROUBLES:
            yield from trouble(state)


def _failing(state: ReplicaState) -> Iterator[str]:
    for name, error in state.failing_parts.items():
        yield f"{name} fails: {error}"


def _refused(state: ReplicaState) -> Iterator[str]:
    if state.refusal is not None:
        yield state.refusal


def _blocked(state: ReplicaState) -> Iterator[str]:
    if state.blocked_by is not None:
        yield f"the event loop has been blocked for {state.blocked_s:.0f} s by {state.blocked_by}"


def _unkept(state: ReplicaState) -> Iterator[str]:
    if state.unkept is not None:
        what = "nothing starts any more" if state.full else "they are in memory only"
        yield f"ends of runs cannot be kept on disk, {what}: {state.unkept}"


def _rows(state: ReplicaState) -> Iterator[str]:
    """One of them: each of these explains the next."""
    if state.stale_since is not None:
        yield f"rows not read since {state.stale_since.isoformat()}: {state.stale_reason}"
    elif state.silent_s > state.silent_limit_s:
        yield f"the database has not answered for {state.silent_s:.0f} s"
    elif not state.loaded:
        yield "the rows have not been read yet"


def _election(state: ReplicaState) -> Iterator[str]:
    if state.election is not None:
        yield state.election


_TROUBLES: tuple[Callable[[ReplicaState], Iterator[str]], ...] = (
    _failing,
    _refused,
    _blocked,
    _unkept,
    _rows,
    _election,
)
"""In the order in which they are reported."""
