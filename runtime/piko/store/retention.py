"""What is forgotten: old rows of `job_run`, `job_lock` and `job_config_revision`, in small transactions.

The log of a run goes with its row.

Reading takes no locks. Writing deletes by primary key, so that a transaction locks the rows that it deletes
and nothing else: neither a gap in which a claim would insert, nor a row that an outcome changes. Each
is made under the fence, so that one replica alone prunes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Select, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.core.types import FINAL_STATES, RunState
from piko.model.backfills import OPEN_STATES
from piko.model.fences import Fence
from piko.model.retention import EndedRow, JobFacts, LockPage, ScheduleFacts
from piko.model.revisions import RevisionMark, Stale
from piko.store.engine import Database
from piko.store.fences import hold
from piko.store.schema.tables.backfills import backfill
from piko.store.schema.tables.configs import job_config
from piko.store.schema.tables.replicas import job_definition
from piko.store.schema.tables.revisions import job_config_revision
from piko.store.schema.tables.run_logs import run_log
from piko.store.schema.tables.runs import job_lock, job_run
from piko.store.schema.tables.schedules import scheduled_job
from piko.store.schema.tables.states import job_state

_ACTIVE = sorted(frozenset(RunState) - FINAL_STATES)
_FINAL = sorted(FINAL_STATES)


class RetentionStore:
    """Reads what there is of a job, and deletes of it what the caller names."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    # ---- reading ----------------------------------------------------------------------------------

    async def next_job(self, after: str) -> str | None:
        """The first job after `after` that has runs or locks, by its row or without one."""
        async with self._database.statements() as connection:
            found = [
                await _first_after(connection, column, after)
                for column in (job_run.c.job_id, job_lock.c.job_id)
            ]
        return min((job_id for job_id in found if job_id is not None), default=None)

    async def facts(self, job_id: str) -> JobFacts:
        """What bears on `job_id`."""
        wanted = [scheduled_job.c[name] for name in ScheduleFacts.__dataclass_fields__]
        async with self._database.statements() as connection:
            row = (await connection.execute(select(*wanted).where(scheduled_job.c.job_id == job_id))).first()
            state = (
                await connection.execute(
                    select(job_state.c.cursor_at, job_state.c.last_run_id).where(job_state.c.job_id == job_id)
                )
            ).first()
            stateful = await connection.execute(
                select(job_definition.c.stateful).where(job_definition.c.job_id == job_id)
            )
            backfills = await connection.execute(
                select(backfill.c.backfill_id).where(
                    backfill.c.state.in_(OPEN_STATES), backfill.c.job_id == job_id
                )
            )
            return JobFacts(
                job_id=job_id,
                schedule=None if row is None else ScheduleFacts(**row._mapping),
                stateful=bool(stateful.scalar_one_or_none()),
                cursor_at=None if state is None else state.cursor_at,
                last_run_id=None if state is None else state.last_run_id,
                open_backfills=frozenset(backfills.scalars()),
            )

    async def next_configured(self, after: str) -> str | None:
        """The first job after `after` whose config has revisions."""
        async with self._database.statements() as connection:
            return await _first_after(connection, job_config_revision.c.job_id, after)

    async def revisions(self, job_id: str) -> tuple[list[RevisionMark], bool]:
        """The revisions of a job's config, oldest first, and whether the config has a row."""
        columns = job_config_revision.c
        statement = (
            select(
                columns.revision, columns.error, columns.effective_from, columns.created_at,
                columns.secret_blanked_at, columns.secret_json.is_not(None).label("has_secret"),
            )
            .where(columns.job_id == job_id)
            .order_by(columns.revision)
        )  # fmt: skip
        async with self._database.statements() as connection:
            rows = [RevisionMark(**row._mapping) for row in await connection.execute(statement)]
            return rows, await _has_config(connection, job_id)

    async def ended(self, job_id: str, *, before: EndedRow | None, limit: int) -> list[EndedRow]:
        """Runs of `job_id` that are over, the latest due time first; those that follow `before`."""
        columns = job_run.c
        statement = (
            select(
                columns.run_id, columns.scheduled_time, columns.state, columns.finished_at,
                columns.backfill_id, columns.window_start,
            )
            .where(columns.job_id == job_id, columns.state.in_(_FINAL))
            .order_by(columns.scheduled_time.desc(), columns.run_id.desc())
            .limit(limit)
        )  # fmt: skip
        if before is not None:
            statement = statement.where(
                columns.scheduled_time <= before.scheduled_time,
                or_(columns.scheduled_time < before.scheduled_time, columns.run_id < before.run_id),
            )
        async with self._database.statements() as connection:
            return [
                EndedRow(
                    run_id=row.run_id,
                    scheduled_time=row.scheduled_time,
                    succeeded=row.state == RunState.SUCCESS,
                    ended_at=row.finished_at or row.scheduled_time,  # ended by hand
                    backfill_id=row.backfill_id,
                    of_window=row.window_start is not None and row.backfill_id is None,
                )
                for row in await connection.execute(statement)
            ]

    # ---- pruning ----------------------------------------------------------------------------------

    async def prune_runs(self, job: JobFacts, runs: Sequence[EndedRow], fence: Fence) -> int:
        """Delete `runs` of `job`; how many. Raises `FencedError`.

        A run stays whose window is still to be done and whose lock names it: what comes next for the window
        is counted from it.
        """
        async with self._database.transaction() as connection:
            await hold(connection, fence)
            holding = await _holding(connection, job, runs)
            doomed = sorted(run.run_id for run in runs if run.run_id not in holding)
            if not doomed:
                return 0
            await connection.execute(delete(run_log).where(run_log.c.run_id.in_(doomed)))
            deleted = await connection.execute(
                delete(job_run).where(job_run.c.run_id.in_(doomed), job_run.c.state.in_(_FINAL))
            )
            return deleted.rowcount

    async def prune_locks(
        self, job_id: str, fence: Fence, *, since: datetime | None, through: datetime, limit: int
    ) -> LockPage:
        """Delete locks of `job_id` up to `through` whose runs are over; begins after `since`.

        Raises `FencedError`.
        """
        columns = job_lock.c
        statement = (
            select(columns.scheduled_time, columns.run_id)
            .where(columns.job_id == job_id, columns.scheduled_time <= through)
            .order_by(columns.scheduled_time)
            .limit(limit)
        )
        if since is not None:
            statement = statement.where(columns.scheduled_time > since)
        if not await self._any(statement.limit(1)):
            return LockPage(pruned=0, through=None)
        async with self._database.transaction() as connection:
            await hold(connection, fence)
            locks = (await connection.execute(statement)).all()
            active = await _active(connection, [lock.run_id for lock in locks])
            free = [lock for lock in locks if lock.run_id not in active]
            pruned = 0
            if free:
                deleted = await connection.execute(
                    delete(job_lock).where(
                        columns.job_id == job_id,
                        columns.scheduled_time.in_([lock.scheduled_time for lock in free]),
                        # One that was handed over meanwhile names another run, which is not over.
                        columns.run_id.in_(sorted(lock.run_id for lock in free)),
                    )
                )
                pruned = deleted.rowcount
        return LockPage(pruned=pruned, through=locks[-1].scheduled_time if len(locks) == limit else None)

    async def drop_revisions(
        self, job_id: str, stale: Stale, fence: Fence, *, has_row: bool, now: datetime
    ) -> tuple[int, int]:
        """Blank secrets and delete revisions as `stale` says; how many of each. Raises `FencedError`.

        What a run that waits or runs names stays as it is, and all of it where the config's row came or went
        since `stale` was decided.
        """
        columns = job_config_revision.c
        active = select(job_run.c.config_revision).where(
            job_run.c.job_id == job_id, job_run.c.state.in_(_ACTIVE)
        )
        async with self._database.transaction() as connection:
            await hold(connection, fence)
            if await _has_config(connection, job_id) is not has_row:
                return 0, 0
            used = set((await connection.execute(active)).scalars())
            prune = sorted({*stale.prune} - used)
            deleted = await connection.execute(
                delete(job_config_revision).where(columns.job_id == job_id, columns.revision.in_(prune))
            )
            blanked = await connection.execute(
                update(job_config_revision)
                .where(columns.job_id == job_id, columns.revision.in_(sorted({*stale.blank} - used)))
                .values(secret_json=None, secret_blanked_at=now)
            )
        return blanked.rowcount, deleted.rowcount

    async def _any(self, statement: Select[Any]) -> bool:
        async with self._database.statements() as connection:
            return (await connection.execute(statement)).first() is not None


async def _has_config(connection: AsyncConnection, job_id: str) -> bool:
    statement = select(job_config.c.job_id).where(job_config.c.job_id == job_id)
    return (await connection.execute(statement)).first() is not None


async def _first_after(connection: AsyncConnection, column: Column[str], after: str) -> str | None:
    # One step in an index, however many rows each job has; DISTINCT would read them all on SQLite.
    statement = select(column).where(column > after).order_by(column).limit(1)
    return (await connection.execute(statement)).scalar_one_or_none()


async def _holding(connection: AsyncConnection, job: JobFacts, runs: Sequence[EndedRow]) -> set[str]:
    """Those of `runs` that hold a window which the watermark has not passed."""
    watermark = None if job.schedule is None else job.schedule.last_data_time
    times = {
        run.scheduled_time
        for run in runs
        if run.of_window and (watermark is None or run.scheduled_time > watermark)
    }
    if job.schedule is None or not times:
        return set()
    found = await connection.execute(
        select(job_lock.c.run_id).where(
            job_lock.c.job_id == job.job_id, job_lock.c.scheduled_time.in_(sorted(times))
        )
    )
    return set(found.scalars())


async def _active(connection: AsyncConnection, run_ids: Sequence[str]) -> set[str]:
    if not run_ids:
        return set()
    found = await connection.execute(
        select(job_run.c.run_id).where(job_run.c.run_id.in_(sorted(run_ids)), job_run.c.state.in_(_ACTIVE))
    )
    return set(found.scalars())
