"""A run: as a value, and as a row of `job_run`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Dialect, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.core.types import DataInterval, RunState, TriggerType
from piko.model.fences import Fence, OutcomeFence
from piko.model.runs import Outcome, PassedOver, Run
from piko.store.held_rows import held_keys, lock_free, rows_locked
from piko.store.keyed import instant_reader
from piko.store.schema.tables.runs import job_run

RUN_COLUMNS = [
    job_run.c[name]
    for name in (
        "run_id", "job_id", "scheduled_time", "state", "attempt", "trigger_type", "priority", "not_before",
        "window_start", "window_end", "instance_id", "epoch", "backfill_id", "offered_at", "config_revision",
        "starts_at", "config_overrides", "traceparent",
    )
]  # fmt: skip

UNREAD_RUN_COLUMNS: list[ColumnElement[Any]] = [
    literal_column(f"job_run.{column.name}") for column in RUN_COLUMNS
]
"""The same, as the driver has their values: `field_reader` takes a third of the time of `run_of`."""

OUTCOME_COLUMNS = ("state", "started_at", "finished_at", "duration_s", "error_type", "error", "offered_at")
"""What an outcome says in any case, see `keep_known` for the rest."""


def run_of(row: Mapping[Any, Any]) -> Run:
    """The run of a row that holds `RUN_COLUMNS`."""
    values = dict(row)
    start, end = values.pop("window_start"), values.pop("window_end")
    window = None if start is None or end is None else DataInterval(start, end)
    values["state"] = RunState(values["state"])
    values["trigger_type"] = TriggerType(values["trigger_type"])
    return Run(**values, window=window)


def field_reader(dialect: Dialect) -> Callable[[Sequence[Any]], dict[str, Any]]:
    """What makes the fields of a run of the values of `UNREAD_RUN_COLUMNS`."""
    read = instant_reader(dialect)

    def instant(value: Any) -> datetime | None:
        return None if value is None else read(value)

    def fields(values: Sequence[Any]) -> dict[str, Any]:
        (
            run_id, job_id, scheduled_time, state, attempt, trigger_type, priority, not_before,
            window_start, window_end, instance_id, epoch, backfill_id, offered_at, config_revision,
            starts_at, config_overrides, traceparent,
        ) = values  # fmt: skip
        windowed = window_start is not None and window_end is not None
        return {
            "run_id": run_id,
            "job_id": job_id,
            "scheduled_time": read(scheduled_time),
            "state": RunState(state),
            "attempt": attempt,
            "trigger_type": TriggerType(trigger_type),
            "priority": priority,
            "not_before": instant(not_before),
            "window": DataInterval(read(window_start), read(window_end)) if windowed else None,
            "instance_id": instance_id,
            "epoch": epoch,
            "backfill_id": backfill_id,
            "offered_at": instant(offered_at),
            "config_revision": config_revision,
            "starts_at": instant(starts_at),
            "config_overrides": config_overrides,
            "traceparent": traceparent,
        }

    return fields


def run_row(run: Run, fence: OutcomeFence, *, now: datetime | None) -> dict[str, object]:
    """The row of a run that has not ended; `now` is when it is claimed."""
    running = run.state is RunState.RUNNING
    return {
        "run_id": run.run_id,
        "job_id": run.job_id,
        "scheduled_time": run.scheduled_time,
        "attempt": run.attempt,
        "state": run.state.value,
        "trigger_type": run.trigger_type.value,
        "priority": run.priority,
        "not_before": run.not_before,
        "window_start": None if run.window is None else run.window.start,
        "window_end": None if run.window is None else run.window.end,
        "epoch": fence.epoch,
        "instance_id": run.instance_id if running else None,
        "claimed_at": now,
        "started_at": (run.starts_at or now) if running else None,
        "backfill_id": run.backfill_id,
        "offered_at": run.offered_at,
        "config_revision": run.config_revision,
        "starts_at": run.starts_at,
        "config_overrides": run.config_overrides,
        "traceparent": run.traceparent,
    }


def passed_over_row(item: PassedOver, fence: Fence, *, now: datetime) -> dict[str, object]:
    """The one row that stands for instants that do not run."""
    return {
        "run_id": item.run_id,
        "job_id": item.job_id,
        "scheduled_time": item.first,
        "state": item.state.value,
        "trigger_type": item.trigger_type.value,
        "missed_through": item.through,
        "missed_count": item.count,
        "epoch": fence.epoch,
        "finished_at": now,
        "error": item.reason,
    }


def outcome_row(outcome: Outcome) -> dict[str, object]:
    """The columns that are written for an ended run, and those that identify it if its row was deleted."""
    run = outcome.run
    return {
        "run_id": run.run_id,
        "job_id": run.job_id,
        "scheduled_time": run.scheduled_time,
        "attempt": run.attempt,
        "trigger_type": run.trigger_type.value,
        "state": outcome.state.value,
        "started_at": outcome.started_at,
        "finished_at": outcome.finished_at,
        "duration_s": outcome.duration_s,
        "config_revision": outcome.config_revision,
        "error_type": outcome.error_type,
        "error": outcome.error,
        "offered_at": None,
    }


def keep_known(new: Any) -> dict[str, ColumnElement[Any]]:
    """The revision that a run was offered with stays where the outcome names none."""
    return {"config_revision": func.coalesce(new.config_revision, job_run.c.config_revision)}


async def lock_runs(
    connection: AsyncConnection, columns: Sequence[Column[Any]], run_ids: Collection[str]
) -> list[Any]:
    """The rows of `run_ids` that there are. Raises `RowsLockedError` where somebody holds one."""
    ids = sorted(run_ids)
    rows = await lock_free(connection, [job_run.c.run_id, *columns], job_run.c.run_id.in_(ids))
    missing = set(ids) - {row.run_id for row in rows}
    if held := await held_keys(connection, job_run.c.run_id, missing):
        owners = await connection.execute(select(job_run.c.job_id).where(job_run.c.run_id.in_(sorted(held))))
        raise rows_locked(owners.scalars())
    return rows
