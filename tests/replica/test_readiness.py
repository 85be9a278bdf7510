"""Readiness and liveness: states of parts, and the reasons that follow from them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piko.replica.readiness import Readiness, ReplicaState, liveness, readiness

WELL = ReplicaState()
NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)

TABLE: dict[str, tuple[ReplicaState, tuple[str, ...]]] = {
    "well": (WELL, ()),
    "stops": (ReplicaState(stopping=True, waits_for="tables", loaded=False), ("stopping",)),
    "waits for its database": (
        ReplicaState(waits_for="the tables are missing", loaded=False, election="blind"),
        ("the tables are missing",),
    ),
    "parts fail": (
        ReplicaState(failing_parts={"ledger": "no luck", "writer": "OSError: full"}),
        ("ledger fails: no luck", "writer fails: OSError: full"),
    ),
    "the database takes no writes": (ReplicaState(refusal="it is read-only"), ("it is read-only",)),
    "a handler blocks the event loop": (
        ReplicaState(blocked_s=7.4, blocked_by="job a, run 1"),
        ("the event loop has been blocked for 7 s by job a, run 1",),
    ),
    "the disk is full": (
        ReplicaState(unkept="no space"),
        ("ends of runs cannot be kept on disk, they are in memory only: no space",),
    ),
    "disk and memory are full": (
        ReplicaState(unkept="no space", full=True),
        ("ends of runs cannot be kept on disk, nothing starts any more: no space",),
    ),
    "memory alone is full": (ReplicaState(full=True), ()),
    "rows are stale": (
        ReplicaState(stale_since=NOON, stale_reason="refused", silent_s=90, silent_limit_s=8, loaded=False),
        ("rows not read since 2026-07-01T12:00:00+00:00: refused",),
    ),
    "a statement hangs": (
        ReplicaState(silent_s=8.1, silent_limit_s=8, loaded=False),
        ("the database has not answered for 8 s",),
    ),
    "a statement takes as long as it may": (ReplicaState(silent_s=8, silent_limit_s=8), ()),
    "rows are not read yet": (ReplicaState(loaded=False), ("the rows have not been read yet",)),
    "cannot take over": (ReplicaState(election="lease not read"), ("lease not read",)),
    "several at once, in order": (
        ReplicaState(
            election="no lease", loaded=False, unkept="x", blocked_s=1, blocked_by="b", refusal="r",
            failing_parts={"p": "e"},
        ),
        (
            "p fails: e",
            "r",
            "the event loop has been blocked for 1 s by b",
            "ends of runs cannot be kept on disk, they are in memory only: x",
            "the rows have not been read yet",
            "no lease",
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("state", "reasons"), TABLE.values(), ids=TABLE)
def test_a_replica_is_ready_unless_a_part_says_why_it_cannot_work(
    state: ReplicaState, reasons: tuple[str, ...]
) -> None:
    assert readiness(state) == Readiness(ready=not reasons, role="standby", reasons=reasons)
    assert readiness(replace(state, leads=True)).role == "leader"


def test_a_reason_of_any_length_fits_on_a_line() -> None:
    (reason,) = readiness(ReplicaState(refusal="x" * 1_000_000)).reasons
    assert len(reason) < 3_000


ALIVE: dict[str, tuple[ReplicaState, str]] = {
    "well": (WELL, ""),
    "without a database": (ReplicaState(waits_for="tables", loaded=False, refusal="read-only"), ""),
    "with parts that fail": (ReplicaState(failing_parts={"ledger": "no luck"}), ""),
    "blocked for a while": (ReplicaState(blocked_s=59, blocked_by="job a"), ""),
    "blocked for too long": (
        ReplicaState(blocked_s=60, blocked_by="job a"),
        "the event loop of the jobs has been blocked for 60 s",
    ),
    "a part has returned": (
        ReplicaState(ended_parts=("ledger", "elector")),
        "parts that ended unexpectedly: ledger, elector",
    ),
    "its life has ended": (
        ReplicaState(over=True, ended_parts=("ledger",)),
        "parts that ended unexpectedly: replica",
    ),
    "stopping": (ReplicaState(stopping=True, over=True, ended_parts=("ledger",)), ""),
    "blocked while it stops": (
        ReplicaState(stopping=True, blocked_s=61, blocked_by="job a"),
        "the event loop of the jobs has been blocked for 61 s",
    ),
}


@pytest.mark.parametrize(("state", "reason"), ALIVE.values(), ids=ALIVE)
def test_a_replica_is_alive_unless_only_a_new_process_helps(state: ReplicaState, reason: str) -> None:
    assert liveness(state, fatal_s=60) == ((reason,) if reason else ())


STATES = st.builds(
    ReplicaState,
    leads=st.booleans(),
    stopping=st.booleans(),
    waits_for=st.none() | st.just("tables"),
    failing_parts=st.dictionaries(st.sampled_from("abc"), st.just("error")),
    refusal=st.none() | st.just("refused"),
    blocked_by=st.none() | st.just("job a"),
    unkept=st.none() | st.just("no space"),
    stale_since=st.none() | st.just(NOON),
    silent_s=st.floats(0, 100),
    silent_limit_s=st.just(8.0),
    loaded=st.booleans(),
    election=st.none() | st.just("blind"),
)


@given(state=STATES)
def test_no_trouble_hides_another_unless_it_explains_it(state: ReplicaState) -> None:
    reasons = readiness(state).reasons
    if state.stopping or state.waits_for is not None:
        assert len(reasons) == 1
        return
    rows = state.stale_since is not None or state.silent_s > 8 or not state.loaded
    troubles = [state.refusal, state.blocked_by, state.unkept, state.election]
    assert len(reasons) == len(state.failing_parts) + sum(each is not None for each in troubles) + rows
