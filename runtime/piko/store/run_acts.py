"""What people do to single runs: queue one, cancel one, queue one again; each with its line in the log."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select, update

from piko.core.types import FINAL_STATES, RunState
from piko.model.changes import Actor
from piko.model.fences import Fence
from piko.model.runs import Outcome, Run
from piko.store.audited_backfills import AUDITED, settle_states
from piko.store.backfills import count_ends
from piko.store.changes import insert_logged, log_change
from piko.store.engine import Database
from piko.store.run_rows import RUN_COLUMNS, run_of, run_row
from piko.store.schema.tables.backfills import backfill
from piko.store.schema.tables.runs import job_run


class RunActs:
    """Writes as a person would at a SQL prompt, and logs who did it."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def queue(self, run: Run, *, actor: Actor, what: str) -> None:
        """Queue `run` from outside the leader. It needs no lock and no fence.

        After a COMMIT that was cut off, it is made again and finds what its first try wrote.
        """
        row = {**run_row(run, Fence(name="", epoch=0), now=None), "epoch": None}
        window = (
            {} if run.window is None else {"window_start": run.window.start, "window_end": run.window.end}
        )
        logged = {
            "run_id": run.run_id,
            "scheduled_time": run.scheduled_time,
            "attempt": run.attempt,
            **window,
            **({} if run.config_overrides is None else {"config_overrides": run.config_overrides}),
        }
        await insert_logged(self._database, job_run, row, actor, what, logged=logged)

    async def read(self, run_id: str) -> Run | None:
        """The run of that id."""
        async with self._database.statements() as connection:
            row = (await connection.execute(select(*RUN_COLUMNS).where(job_run.c.run_id == run_id))).first()
        return None if row is None else run_of(row._mapping)

    async def last_attempt(self, run: Run) -> int:
        """The highest number of an attempt at the due time of `run`."""
        columns = job_run.c
        statement = select(func.max(columns.attempt)).where(
            columns.job_id == run.job_id, columns.scheduled_time == run.scheduled_time
        )
        async with self._database.statements() as connection:
            return int((await connection.execute(statement)).scalar_one() or 0)

    async def cancel(self, run: Run, *, error: str, actor: Actor, now: datetime) -> RunState | None:
        """End `run` as CANCELLED if it has not ended; the state that it had, None if it has no row.

        Its replica cancels the handler within a poll.
        """
        columns = job_run.c
        async with self._database.transaction() as connection:
            if run.backfill_id is not None:  # before the run, as every transaction locks them
                of_it = select(*AUDITED).where(backfill.c.backfill_id == run.backfill_id)
                held = (await connection.execute(of_it.with_for_update())).all()
                await settle_states(connection, held, now=now)
            row = (
                await connection.execute(
                    select(columns.state).where(columns.run_id == run.run_id).with_for_update()
                )
            ).first()
            if row is None or row.state in FINAL_STATES:
                return None if row is None else RunState(row.state)
            await connection.execute(
                update(job_run)
                .where(columns.run_id == run.run_id)
                .values(state=RunState.CANCELLED, finished_at=now, offered_at=None, error=error)
            )
            ended = Outcome(
                run=run, state=RunState.CANCELLED, started_at=None, finished_at=now, duration_s=None
            )
            await count_ends(connection, [ended])
            await log_change(
                connection,
                actor,
                "cancel",
                job_id=run.job_id,
                before={"run_id": run.run_id, "state": row.state},
                after={"run_id": run.run_id, "state": RunState.CANCELLED},
            )
            return RunState(row.state)
