"""The logs and the progress of runs: many in one statement, apart from what decides about runs.

They are written under no fence and hold no row that a claim or an outcome needs. A run has one writer, the
replica that executes it, and a later text of its log replaces the earlier one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.model.run_logs import RunAccount
from piko.model.runs import Outcome
from piko.store.engine import Database
from piko.store.schema.tables.run_logs import run_log
from piko.store.schema.tables.runs import job_run
from piko.store.upsert import write_rows

_LOG_COLUMNS = (
    "head", "tail", "line_count", "left_out",
    "progress_done", "progress_total", "progress_text", "written_at",
)  # fmt: skip
_ACCOUNT = [field.name for field in fields(RunAccount)]


class RunLogStore:
    """Writes `run_log`. Raises `DatabaseUnavailableError`."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def write(self, accounts: Sequence[RunAccount], *, now: datetime) -> None:
        """Write the logs and the progress of runs; a run whose row was pruned is left out."""
        rows = [_row(account, now) for account in accounts]
        statement = select(job_run.c.run_id).where(job_run.c.run_id.in_([row["run_id"] for row in rows]))
        async with self._database.statements() as connection:
            there = set((await connection.execute(statement)).scalars())
            await write_rows(
                connection,
                self._database,
                run_log,
                [row for row in rows if row["run_id"] in there],
                update=_LOG_COLUMNS,
            )


async def write_results(connection: AsyncConnection, database: Database, outcomes: Sequence[Outcome]) -> None:
    """Keep what the handlers of `outcomes` returned, in the transaction of their outcomes."""
    rows = [
        {"run_id": outcome.run.run_id, "job_id": outcome.run.job_id, "result": outcome.result}
        for outcome in outcomes
        if outcome.result is not None
    ]
    if rows:
        await write_rows(connection, database, run_log, rows, update=("result",))


def _row(account: RunAccount, now: datetime) -> dict[str, object]:
    return {**{name: getattr(account, name) for name in _ACCOUNT}, "written_at": now}
