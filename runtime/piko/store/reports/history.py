"""`job_run` for people: how runs ended."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime

from sqlalchemy import select

from piko.core.types import RunState
from piko.store.engine import Database
from piko.store.schema.tables.runs import job_run


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedRun:
    """A run that is over, or the instants that a MISSED or SKIPPED row stands for."""

    run_id: str
    job_id: str
    scheduled_time: datetime
    attempt: int
    state: RunState
    trigger_type: str
    window_start: datetime | None
    window_end: datetime | None
    missed_through: datetime | None
    missed_count: int | None
    finished_at: datetime
    duration_s: float | None
    error: str | None


_COLUMNS = [job_run.c[field.name] for field in fields(EndedRun)]


class RunHistory:
    """Reads what has ended."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def ended_since(self, moment: datetime) -> list[EndedRun]:
        """What ended at or after `moment`, oldest first.

        Outcomes are written a little after they happened and not strictly in order, so a reader asks again
        from somewhat before the last one that it saw, and skips those that it knows.
        """
        statement = (
            select(*_COLUMNS)
            .where(job_run.c.finished_at >= moment)
            .order_by(job_run.c.finished_at, job_run.c.run_id)
        )
        async with self._database.statements() as connection:
            rows = await connection.execute(statement)
            return [EndedRun(**{**row._mapping, "state": RunState(row.state)}) for row in rows]
