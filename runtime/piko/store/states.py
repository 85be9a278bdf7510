"""`job_state`: the runtime's summary of each job, read by people, the operator and the next leader.

It outlives the job's row in `scheduled_job`, see `piko.store.progress`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from operator import attrgetter
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.core.types import FAILED_STATES, JobStatus, RunState
from piko.model.fences import Fence, OutcomeFence
from piko.model.runs import Outcome
from piko.model.states import JobState
from piko.model.watermarks import Watermarks
from piko.store.audited_watermarks import settle_watermark
from piko.store.engine import Database
from piko.store.fences import fenced
from piko.store.held_rows import held_keys, rows_locked
from piko.store.keyed import execute_keyed, instant_reader
from piko.store.pages import PageReader
from piko.store.progress import watermarks_to_keep
from piko.store.schema.tables.states import job_state
from piko.store.upsert import write_rows
from piko.text import excerpt

FIELDS = tuple(JobState.__dataclass_fields__)
PLAN = (
    "status", "message", "schedule_hash", "observed_version", "cursor_at", "next_run_at",
    "given_up_from", "given_up_to", "row_created_at", "row_gone_at", "epoch",
)  # fmt: skip
"""What claims write."""
LAST = (*(name for name in FIELDS if name.startswith("last_")), "consecutive_failures", "epoch")
"""What outcomes write. Claims and outcomes run side by side, so neither touches the other's columns."""
_COLUMNS = [job_state.c[name] for name in FIELDS]


class StateStore:
    """The leader's account of the jobs."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def read_all(self) -> dict[str, JobState]:
        async with self._database.statements() as connection:
            found: dict[str, JobState] = {}
            async for page in PageReader(_COLUMNS).pages(connection):
                states = (JobState(**dict(zip(FIELDS, values, strict=True))) for values in page)
                found.update((state.job_id, state) for state in states)
            return found

    async def read(self, job_ids: Collection[str]) -> dict[str, JobState]:
        """The states of `job_ids`; a job without one is left out."""
        async with self._database.statements() as connection:
            rows = await connection.execute(select(*_COLUMNS).where(job_state.c.job_id.in_(sorted(job_ids))))
            return {row.job_id: JobState(**row._mapping) for row in rows}

    async def write(self, states: Sequence[JobState], fence: Fence) -> None:
        """Write `states`. Raises `FencedError` where another replica leads, and `RowsLockedError` where
        somebody holds the row of one."""
        async with fenced(self._database, fence) as connection:
            await lock_states(connection, {state.job_id for state in states})
            await write_states(connection, self._database, states, fence, update=PLAN)


async def lock_states(connection: AsyncConnection, job_ids: Collection[str]) -> Watermarks:
    """Which of `job_ids` have a row, locked until the transaction ends; each with the watermark it keeps.

    Raises `RowsLockedError` where somebody holds one.
    """
    if not job_ids:
        return {}
    instant = instant_reader(connection.dialect)
    rows = await execute_keyed(connection, _free_rows, sorted(job_ids))
    found: Watermarks = {row.job_id: instant(row.data_through) for row in rows}
    if len(found) < len(job_ids) and (
        held := await held_keys(connection, job_state.c.job_id, set(job_ids) - found.keys())
    ):
        raise rows_locked(held)
    return found


def _free_rows(job_ids: Sequence[str]) -> Select[Any]:
    """The rows that nobody holds, locked; see `lock_free`."""
    columns = job_state.c
    named = select(columns.job_id, columns.data_through).where(columns.job_id.in_(job_ids))
    return named.order_by(columns.job_id).with_for_update(skip_locked=True)


def summarised(outcomes: Iterable[Outcome]) -> set[str]:
    """The jobs whose summaries `outcomes` change: a backfill says nothing of how its job does now."""
    return {outcome.run.job_id for outcome in outcomes if outcome.run.backfill_id is None}


async def summarise(
    connection: AsyncConnection,
    database: Database,
    outcomes: Sequence[Outcome],
    fence: OutcomeFence,
    *,
    watermarks: Watermarks,
    before: Watermarks,
) -> None:
    """Make `outcomes` part of their jobs' summaries, and their watermarks as they stand now.

    `before`: the rows there are, as `lock_states` found them. A job that was forgotten meanwhile does not
    come back.
    """
    # The rows are there and locked; a status is named only because an INSERT without one would be refused.
    epoch = {"epoch": fence.epoch, "status": JobStatus.SCHEDULED.value}
    summaries = _summaries(outcomes)
    through = watermarks_to_keep(outcomes, watermarks, before)
    moves = (outcome.watermark for outcome in outcomes if outcome.watermark is not None)
    own = {(move.job_id, move.new) for move in moves}
    for job_id, moment in through.items():
        foreign = job_id in before and (job_id, moment) not in own
        if foreign and moment != before[job_id]:
            await settle_watermark(connection, job_id, before=before[job_id], after=moment)
    known = [
        {**summaries[job_id], **epoch, "data_through": through.get(job_id)}
        for job_id in sorted(summaries)
        if job_id in before
    ]
    await write_rows(connection, database, job_state, known, update=_LATEST, merge=_add_up)


def _summaries(outcomes: Iterable[Outcome]) -> dict[str, dict[str, object]]:
    """What `outcomes`, oldest first, say of each job.

    `consecutive_failures` counts from the last success among them; where there is none, to what was before.
    """
    summaries: dict[str, dict[str, object]] = {}
    failures: Counter[str] = Counter()
    for outcome in outcomes:
        run, job_id = outcome.run, outcome.run.job_id
        if run.backfill_id is not None:
            continue
        earlier = summaries.get(job_id, {})
        success_at, failure_at = earlier.get("last_success_at"), earlier.get("last_failure_at")
        if outcome.state is RunState.SUCCESS:
            success_at, failures[job_id] = outcome.finished_at, 0
        elif outcome.state in FAILED_STATES:
            failure_at = outcome.finished_at
            failures[job_id] += 1
        summaries[job_id] = {
            "job_id": job_id,
            "last_run_id": run.run_id,
            "last_state": outcome.state.value,
            "last_scheduled_time": run.scheduled_time,
            "last_started_at": outcome.started_at,
            "last_duration_s": outcome.duration_s,
            "last_error": outcome.error,
            "last_success_at": success_at,
            "last_failure_at": failure_at,
            "consecutive_failures": failures[job_id],
        }
    return summaries


_GO_ON = ("last_success_at", "last_failure_at", "consecutive_failures")
_LATEST = tuple(name for name in LAST if name not in _GO_ON)


def _add_up(new: Any) -> dict[str, ColumnElement[Any]]:
    """The columns of a summary that go on from what was there."""
    before = case(
        (new.last_success_at.is_(None), job_state.c.consecutive_failures), else_=literal_column("0")
    )
    return {
        "consecutive_failures": new.consecutive_failures + before,
        "last_success_at": func.coalesce(new.last_success_at, job_state.c.last_success_at),
        "last_failure_at": func.coalesce(new.last_failure_at, job_state.c.last_failure_at),
        "data_through": func.coalesce(new.data_through, job_state.c.data_through),
    }


async def write_states(
    connection: AsyncConnection,
    database: Database,
    states: Sequence[JobState],
    fence: OutcomeFence,
    *,
    update: Sequence[str],
) -> None:
    """Write the columns `update` of `states` within a transaction that holds `fence`."""
    if states:
        ordered = sorted(states, key=lambda state: state.job_id)  # one order everywhere, against deadlocks
        columns = sorted({"job_id", "status", *update} - {"epoch", "message"})
        values, epoch = attrgetter(*columns), fence.epoch
        rows = []
        for state in ordered:
            row = dict(zip(columns, values(state), strict=True))
            row["epoch"] = epoch
            row["message"] = None if state.message is None else excerpt(state.message)
            rows.append(row)
        await write_rows(connection, database, job_state, rows, update=update)
