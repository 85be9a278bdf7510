"""What people do to single runs: queue one, cancel one, queue one again; each with its line in the log."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import exc, func, select, update

from piko.core.types import FINAL_STATES, RunState
from piko.json_object import read_object
from piko.model.changes import Actor
from piko.model.fences import Fence
from piko.model.runs import Outcome, Run
from piko.store.audited_backfills import AUDITED, settle_states
from piko.store.backfills import count_ends
from piko.store.changes import insert_logged, log_change
from piko.store.engine import Database
from piko.store.run_rows import RUN_COLUMNS, run_of, run_row
from piko.store.schema.tables.backfills import backfill
from piko.store.schema.tables.changes import change_log
from piko.store.schema.tables.runs import job_run
from piko.store.upsert import insert_rows


class RunActs:
    """Writes as a person would at a SQL prompt, and logs who did it."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def queue(self, run: Run, *, actor: Actor, what: str) -> None:
        """Queue `run` from outside the leader. It needs no lock and no fence.

        After a COMMIT that was cut off, it is made again and finds what its first try wrote.
        """
        await insert_logged(self._database, job_run, _queued(run), actor, what, logged=_logged(run))

    async def queue_once(self, run: Run, *, actor: Actor, what: str) -> datetime:
        """Queue `run` unless another process has queued one of its id meanwhile; the due time of that one."""
        try:
            async with self._database.transaction() as connection:
                await insert_rows(connection, job_run, [_queued(run)])
                await log_change(connection, actor, what, job_id=run.job_id, after=_logged(run))
        except exc.IntegrityError:
            known = await self.queued_at(run.run_id, job_id=run.job_id, what=what)
            if known is None:
                raise
            return known
        return run.scheduled_time

    async def queued_at(self, run_id: str, *, job_id: str, what: str) -> datetime | None:
        """The due time with which `what` has queued the run of that id; None: it has not.

        The line in `change_log` answers for a run that is pruned by now.
        """
        of_it, lines = job_run.c.run_id == run_id, change_log.c
        mentions = lines.after.contains(f'"run_id": "{run_id}"', autoescape=True)
        logged = select(lines.after).where(lines.job_id == job_id, lines.what == what, mentions)
        async with self._database.statements() as connection:
            due: datetime | None = (
                await connection.execute(select(job_run.c.scheduled_time).where(of_it))
            ).scalar()
            if due is not None:
                return due
            line = (await connection.execute(logged.order_by(lines.change_id.desc()).limit(1))).scalar()
        if line is None:
            return None
        return datetime.fromisoformat(str(read_object(line)["scheduled_time"])).astimezone(UTC)

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


def _queued(run: Run) -> dict[str, object]:
    return {**run_row(run, Fence(name="", epoch=0), now=None), "epoch": None}


def _logged(run: Run) -> dict[str, object]:
    window = {} if run.window is None else {"window_start": run.window.start, "window_end": run.window.end}
    return {
        "run_id": run.run_id,
        "scheduled_time": run.scheduled_time,
        "attempt": run.attempt,
        **window,
        **({} if run.config_overrides is None else {"config_overrides": run.config_overrides}),
    }
