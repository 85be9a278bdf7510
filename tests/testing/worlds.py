"""A history lived through twice: in a `Timeline`, and by real replicas over a real database."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select, update

from piko import JobContext
from piko.catalog.reconciler import Reconciler
from piko.replica.composition import compose
from piko.settings import load_settings
from piko.store.schema.tables.runs import job_run
from piko.store.schema.tables.schedules import scheduled_job
from piko.store.schema.tables.states import job_state
from piko.testing import Timeline
from piko.testing.declared_rows import edited_columns
from tests.testing.histories import (
    AWAY,
    LASTS,
    START,
    Ended,
    Handlers,
    Happening,
    History,
    SeenRun,
    app_of,
)
from tests.testing.virtual_time import VirtualClock, VirtualLoop, on_virtual_time

_AS_STANDBY = ("heartbeat", "reconciler")
_AS_LEADER = ("elector", "ledger", "start_marks", "scheduler")


# ---- a timeline -----------------------------------------------------------------------------------------


def by_timeline(history: History) -> Ended:
    """What a `Timeline` makes of it."""
    timeline = Timeline(app_of(history), start=START, max_concurrent_runs=history.places)
    for job in history.jobs:
        timeline.schedule(job.job_id, job.schedule, **job.columns)
        timeline.takes(job.job_id, timedelta(seconds=job.takes_s))
    for each in history.happenings:
        timeline.advance(until=START + timedelta(seconds=each.at))
        _happen_in(timeline, each)
    timeline.advance(until=START + LASTS)
    ids = [job.job_id for job in history.jobs]
    return Ended(
        runs=sorted(
            SeenRun(
                job_id=run.job_id,
                due=run.scheduled_time,
                attempt=run.attempt,
                state=run.state.value,
                window=None if run.window is None else (run.window.start, run.window.end),
                through=run.through,
                count=run.count,
            )
            for run in timeline.runs()
        ),
        watermarks={job_id: timeline.watermark(job_id) for job_id in ids},
        statuses={job_id: timeline.status(job_id) for job_id in ids},
    )


def _happen_in(timeline: Timeline, each: Happening) -> None:
    match each.what:
        case "fail":
            timeline.fail(each.job_id, times=each.value)
        case "takes":
            timeline.takes(each.job_id, timedelta(seconds=each.value))
        case "pause" | "resume":
            timeline.edit(each.job_id, enabled=each.what == "resume")
        case "edit":
            timeline.edit(each.job_id, **each.value)
        case "reschedule":
            timeline.edit(each.job_id, schedule=each.value)
        case "watermark":
            timeline.set_watermark(each.job_id, each.value)
        case "kill":
            timeline.kill_leader(away=AWAY)


# ---- real replicas --------------------------------------------------------------------------------------


def by_runtime(history: History, *, tables: Path, folder: Path) -> Ended:
    """What real replicas make of it, one after the other, in the empty `folder`.

    `tables`: a database with Piko's empty tables.
    """
    shutil.copy(tables, folder / "piko.db")
    clock = VirtualClock(START)
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(clock)) as runner:
        return runner.run(RealWorld(history, clock, folder).live())


class RealWorld:
    """A database, the replica that leads, and somebody who writes SQL."""

    def __init__(self, history: History, clock: VirtualClock, folder: Path) -> None:
        self._history = history
        self._clock = clock
        self._folder = folder
        self._handlers = Handlers(history)
        self._numbers = 0
        self._replica = self._new_replica()

    def _new_replica(self) -> VirtualReplica:
        self._numbers += 1
        return VirtualReplica(
            self._history, self._handlers, self._clock, self._folder, name=f"replica-{self._numbers}"
        )

    async def live(self) -> Ended:
        await self._replica.stand_by()
        await self._replica.lead()
        async with self._replica.parts.database.statements() as connection:
            for job in self._history.jobs:
                columns = edited_columns({"schedule": job.schedule, **job.columns})
                await connection.execute(scheduled_job.insert().values(job_id=job.job_id, **columns))
        await self._replica.look()
        for each in self._history.happenings:
            await self._until(each.at)
            await self._happen(each)
        await self._until(LASTS.total_seconds())
        await self._replica.look()
        ended = await self._seen()
        await self._replica.die()
        return ended

    async def _until(self, moment_s: float) -> None:
        await asyncio.sleep(moment_s - self._clock.elapsed_s)

    async def _happen(self, each: Happening) -> None:
        match each.what:
            case "fail":
                self._handlers.failures[each.job_id] += each.value
            case "takes":
                self._handlers.takes_s[each.job_id] = each.value
            case "pause" | "resume":
                await self._edit(each.job_id, enabled=each.what == "resume")
            case "edit":
                await self._edit(each.job_id, **each.value)
            case "reschedule":
                await self._edit(each.job_id, **edited_columns({"schedule": each.value}))
            case "watermark":
                await self._edit(each.job_id, last_data_time=each.value)
            case "kill":
                await self._replica.die()
                self._replica = self._new_replica()
                await self._replica.stand_by()
                await asyncio.sleep(AWAY.total_seconds())
                await self._replica.lead()

    async def _edit(self, job_id: str, **columns: Any) -> None:
        async with self._replica.parts.database.statements() as connection:
            await connection.execute(
                update(scheduled_job).where(scheduled_job.c.job_id == job_id).values(**columns)
            )
        await self._replica.look()

    async def _seen(self) -> Ended:
        async with self._replica.parts.database.statements() as connection:
            runs = (await connection.execute(select(job_run))).mappings().all()
            rows = (await connection.execute(select(scheduled_job))).mappings().all()
            states = (await connection.execute(select(job_state))).mappings().all()
        return Ended(
            runs=sorted(_seen_run(run) for run in runs),
            watermarks={row["job_id"]: row["last_data_time"] for row in rows},
            statuses={state["job_id"]: str(state["status"]) for state in states},
        )


def _seen_run(run: Any) -> SeenRun:
    window = None if run["window_start"] is None else (run["window_start"], run["window_end"])
    return SeenRun(
        job_id=run["job_id"],
        due=run["scheduled_time"],
        attempt=run["attempt"],
        state=run["state"],
        window=window,
        through=run["missed_through"],
        count=run["missed_count"] or 1,
    )


class VirtualReplica:
    """The parts of a replica that schedule and run, as `compose` builds them, on virtual time."""

    def __init__(
        self, history: History, handlers: Handlers, clock: VirtualClock, folder: Path, *, name: str
    ) -> None:
        async def handler(ctx: JobContext, scheduled_time: datetime) -> None:
            if takes_s := handlers.takes_s[ctx.job_id]:
                await asyncio.sleep(takes_s)
            if handlers.fails(ctx.job_id):
                raise RuntimeError("as the history says")

        app = app_of(history, handler)
        app.used = True
        self.parts = compose(
            app_name=app.name,
            registry=app.registry,
            hooks=app.hooks,
            writer=app.writer,
            settings=load_settings(
                environment={},
                directory=folder,
                mysql_dsn=f"sqlite+aiosqlite:///{folder}/piko.db",
                spool_dir=folder / name,
                leader_lease_s=180,
                leader_renew_interval_s=60,
                heartbeat_interval_s=60,
                poll_interval_s=60,
                max_concurrent_runs=history.places,
                log_capture="off",
            ),
            clock=clock,
            metrics=app.metrics,
        )
        for engine in (self.parts.database.engine, self.parts.database.autocommit):
            on_virtual_time(engine, clock)
        self._tasks: list[asyncio.Task[Any]] = []

    async def stand_by(self) -> None:
        """Start all that a replica does while another one leads, or nobody."""
        self._start(_AS_STANDBY)
        await self.look()

    async def lead(self) -> None:
        """Start the rest: it leads as soon as nobody else does."""
        self._start(_AS_LEADER)
        while self.parts.elector.acting is None:
            await self.parts.elector.wait_for_change()
        await _breathe()

    async def look(self) -> None:
        """Rows are read, the leader takes a turn, and what follows at this moment happens."""
        (reconciler,) = (part for part in self.parts.running if isinstance(part, Reconciler))
        await reconciler.compare()
        self.parts.catalog.news.set()
        await _breathe()

    async def die(self) -> None:
        """All of it ends at once, and nothing of it is written."""
        await _ended(self._tasks)
        for run_id in self.parts.executor.run_ids:
            self.parts.executor.cancel(run_id, reason="its process was killed")
        await _breathe()
        await self.parts.database.close()

    def _start(self, names: tuple[str, ...]) -> None:
        chosen: list[Awaitable[Any]] = [part.run() for part in self.parts.running if part.name in names]
        self._tasks.extend(asyncio.ensure_future(run) for run in chosen)


async def _breathe() -> None:
    """Return when nobody has anything more to do at this moment."""
    await asyncio.sleep(1e-4)


async def _ended(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError):
            await task
