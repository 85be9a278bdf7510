"""The gateway to `job_run`: claims, starts, outcomes, and the queue of what waits.

Batches are the unit: one statement for many rows. A COMMIT that is cut off has an unknown outcome; every
write can therefore be made again as it was, and finds what its first try wrote. Each kind of write is
a module: `claims`, `starts`, `fetches`, `outcomes`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, bindparam, func, or_, select

from piko.core.types import RunState
from piko.model.claims import ClaimBatch, Withdrawal
from piko.model.fences import Fence, OutcomeFence
from piko.model.runs import Outcome, Run, RunProgress
from piko.store.chunks import chunks
from piko.store.claims import claim
from piko.store.engine import Database
from piko.store.fetches import count_offered, fetch, offered_now
from piko.store.held_rows import held_jobs, wait_for
from piko.store.outcomes import finish
from piko.store.run_progress import oldest_offer, progress
from piko.store.run_rows import RUN_COLUMNS, run_of
from piko.store.schema.tables.replicas import runtime_instance
from piko.store.schema.tables.runs import job_run
from piko.store.starts import offer, start
from piko.store.withdrawals import requeue, withdraw

_CHUNK = 500
_OLDEST = 1000
_RUNNING_ON = select(job_run.c.run_id).where(
    job_run.c.state == RunState.RUNNING, job_run.c.instance_id == bindparam("instance")
)


class RunStore:
    """Claims and outcomes, each conditional on its fence.

    Every transaction here locks rows in one order, against deadlocks: the lease, instances, backfills,
    schedules, locks, runs, states; and within a table by key.
    """

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def claim(self, batch: ClaimBatch, fence: Fence, *, now: datetime) -> dict[str, Run]:
        """Claim the batch, see `claim`; the runs that are ours, by id. Raises `FencedError`."""
        return await claim(self._database, batch, fence, now=now)

    async def withdraw(self, withdrawals: Sequence[Withdrawal], fence: Fence, *, now: datetime) -> set[str]:
        """Take claims back of runs that have not begun; the ids of those that had not ended otherwise.

        They are CANCELLED, their due times are free to be claimed again, and their jobs' cursors stand before
        them. Raises `FencedError`, and `RowsLockedError` where somebody holds rows of these runs or jobs.
        """
        return await withdraw(self._database, withdrawals, fence, now=now)

    async def requeue(self, runs: Sequence[Run], fence: Fence) -> set[str]:
        """Let runs that have not begun wait in the queue for their time, as the same attempts.

        The ids of those that do. Raises `FencedError`, and `RowsLockedError` where somebody holds one.
        """
        return await requeue(self._database, runs, fence)

    async def start(self, runs: Sequence[Run], fence: Fence, *, now: datetime) -> set[str]:
        """Move queued runs to RUNNING for `run.instance_id`; the run ids that were still queued.

        A window that the watermark has left meanwhile is SKIPPED instead. Raises `FencedError`, and
        `RowsLockedError` where somebody holds rows of these runs or their jobs.
        """
        return await start(self._database, runs, fence, now=now)

    async def offer(self, runs: Sequence[Run], fence: Fence) -> set[str]:
        """Let any replica take queued runs, from `run.offered_at` on; the run ids that were still there.

        Raises `FencedError`, and `RowsLockedError` where somebody holds one.
        """
        return await offer(self._database, runs, fence)

    async def fetch(
        self,
        instance_id: str,
        *,
        lease: str,
        limit: int,
        now: datetime,
        knows: Callable[[str], bool],
        leaving: Collection[str] = (),
    ) -> tuple[list[Run], list[Run]]:
        """Fetch up to `limit` offered runs, in their order, of jobs that the replica `knows`.

        The fetched runs are RUNNING on `instance_id` from now on. The second list has the runs of unknown
        jobs, which were left. Jobs of `leaving` are not considered. Replicas that fetch at the same time get
        different runs. A window that the watermark has left meanwhile is SKIPPED instead.
        """
        return await fetch(
            self._database, instance_id, lease=lease, limit=limit, now=now, knows=knows, leaving=leaving
        )

    async def finish(self, outcomes: Sequence[Outcome], fence: OutcomeFence) -> set[str]:
        """Record outcomes with their watermarks, retries and summaries; the ids of the runs that ended so.

        A run that has ended in another way before keeps that end, and its outcome has no effect: it was given
        up, or cancelled by hand; so does one that is another instance's. Raises `FencedError`, and
        `RowsLockedError` where somebody holds rows of these runs or their jobs.
        """
        return await finish(self._database, outcomes, fence)

    async def held_jobs(self, job_ids: Collection[str], *, runs: Sequence[Run] = ()) -> set[str]:
        """Of `job_ids` those of which somebody holds a row now, of `runs` among others."""
        return await held_jobs(
            self._database,
            job_ids,
            run_ids=[run.run_id for run in runs],
            due_times=[run.due_time for run in runs],
        )

    async def wait_for(self, runs: Sequence[Run], *, also: Sequence[str] = ()) -> None:
        """Return when no transaction that writes `runs`, or the run ids of `also`, is under way.

        Raises `RowsLockedError` where one still is.
        """
        await wait_for(
            self._database,
            run_ids=[*(run.run_id for run in runs), *also],
            due_times=[run.due_time for run in runs],
        )

    async def queued(self, *, limit: int = 1000, offered: bool = True) -> list[Run]:
        """What waits: the highest priority first, then the oldest; also what is `offered` already."""
        waits = job_run.c.state == RunState.QUEUED
        statement = (
            select(*RUN_COLUMNS)
            .where(waits if offered else and_(waits, job_run.c.offered_at.is_(None)))
            .order_by(job_run.c.priority.desc(), job_run.c.scheduled_time)
            .limit(limit)
        )
        return await self._runs(statement)

    async def waiting_since(self, *, now: datetime) -> datetime | None:
        """Since when the oldest live run waits that only needs a slot or a replica; None: none does.

        One that waits for another run of its job, as its overlap policy says, counts once it is offered. Only
        the thousand with the earliest due times are looked at.
        """
        busy = select(job_run.c.job_id).where(job_run.c.state == RunState.RUNNING)
        oldest = (
            select(func.coalesce(job_run.c.not_before, job_run.c.created_at).label("since"))
            .where(
                job_run.c.state == RunState.QUEUED,
                job_run.c.backfill_id.is_(None),
                or_(job_run.c.not_before.is_(None), job_run.c.not_before <= now),
                or_(job_run.c.offered_at.is_not(None), job_run.c.job_id.not_in(busy)),
            )
            .order_by(job_run.c.scheduled_time)
            .limit(_OLDEST)
            .subquery()
        )
        async with self._database.statements() as connection:
            since: datetime | None = (await connection.execute(select(func.min(oldest.c.since)))).scalar_one()
        return since

    async def running(self) -> list[Run]:
        """Every run that is recorded as in progress, on whatever instance."""
        return await self._runs(select(*RUN_COLUMNS).where(job_run.c.state == RunState.RUNNING))

    async def begun_by(self, instance_id: str) -> list[Run]:
        """Runs in progress on that instance whose ends it may record: they were not taken from it."""
        instance = runtime_instance.c
        statement = (
            select(*RUN_COLUMNS)
            .join(runtime_instance, instance.instance_id == job_run.c.instance_id)
            .where(
                job_run.c.state == RunState.RUNNING,
                job_run.c.instance_id == instance_id,
                or_(instance.fenced_epoch.is_(None), instance.fenced_epoch < job_run.c.epoch),
            )
        )
        return await self._runs(statement)

    async def offered(self) -> list[Run]:
        """Every run that waits for a replica to take it."""
        return await self._runs(select(*RUN_COLUMNS).where(*offered_now()))

    async def count_offered(self) -> int:
        """How many runs wait for a replica to take them; also such as have just ended otherwise."""
        return await count_offered(self._database)

    async def running_on(self, instance_id: str) -> set[str]:
        """The runs that are in progress on that instance, by the database's account."""
        async with self._database.statements() as connection:
            return set((await connection.execute(_RUNNING_ON, {"instance": instance_id})).scalars())

    async def progress(
        self, run_ids: Collection[str], *, begun: Collection[str] = (), waiting: bool = True
    ) -> dict[str, RunProgress | None]:
        """How far those of `run_ids` are that may have moved, see `progress`."""
        return await progress(self._database, run_ids, begun=begun, waiting=waiting)

    async def oldest_offer(self) -> datetime | None:
        """Since when the run is offered that waits for a replica the longest; None: none waits."""
        return await oldest_offer(self._database)

    async def states(self, run_ids: Collection[str]) -> dict[str, RunState]:
        """The state of each of `run_ids` that has a row."""
        found: dict[str, RunState] = {}
        async with self._database.statements() as connection:
            for chunk in chunks(run_ids, size=_CHUNK):
                statement = select(job_run.c.run_id, job_run.c.state).where(job_run.c.run_id.in_(chunk))
                found.update((row.run_id, RunState(row.state)) for row in await connection.execute(statement))
        return found

    async def _runs(self, statement: Select[Any]) -> list[Run]:
        async with self._database.statements() as connection:
            return [run_of(row._mapping) for row in await connection.execute(statement)]
