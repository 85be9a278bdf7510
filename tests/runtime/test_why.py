"""`piko why JOB INSTANT` once a real leader has done it: each reason by name, with the line that cures it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from piko import PikoApp
from piko.settings import load_settings
from piko.store.engine import Database
from piko.store.leases import LeaseStore
from piko.store.reports.explanations import ReasonKind, explain_job
from piko.text import instant_text
from tests.cli.piko import OK, piko_here
from tests.harness.databases import TestDatabase
from tests.harness.waiting import PATIENCE_S, wait_until_async
from tests.runtime.replicas import LONG_AGO, schedule
from tests.store.making import opened

_EACH_SECOND, _EACH_MINUTE = '{"seconds": 1}', '{"seconds": 60}'
_SECOND = timedelta(seconds=1)


class Target(BaseModel):
    """A config that has to be there."""

    table: str


@dataclass(frozen=True, slots=True)
class Case:
    """A reason of a job at an instant; `stage` brings it about and says which instant."""

    job_id: str
    kind: ReasonKind
    said: str
    cure: str
    stage: Callable[[TestDatabase, Path], Awaitable[datetime]]


async def _of_run(database: TestDatabase, _folder: Path, *, job_id: str, like: str) -> datetime:
    """The due time of the first run of the job whose error is so."""
    query = (
        f"SELECT scheduled_time FROM job_run WHERE job_id = '{job_id}' AND error LIKE '%{like}%' "
        "ORDER BY scheduled_time LIMIT 1"
    )
    return await _found(database, query, what=f"a run of {job_id} with {like!r}")


async def _of_status(database: TestDatabase, _folder: Path, *, job_id: str, status: str) -> datetime:
    """A due time in the past of the job that has the status."""
    query = f"SELECT updated_at FROM job_state WHERE job_id = '{job_id}' AND status = '{status}'"
    seen = await _found(database, query, what=f"{job_id} to be {status}")
    return await _past_due_after(seen)


async def _of_pause(database: TestDatabase, folder: Path) -> datetime:
    """A due time after the leader has seen that a person has paused the job."""
    said = await asyncio.to_thread(
        piko_here, "pause", "paused", "--reason", "the source moves", cwd=folder, dsn=database.dsn
    )
    assert said.code == OK, said.err
    return await _of_status(database, folder, job_id="paused", status="Disabled")


async def _of_nobody(database: TestDatabase, _folder: Path) -> datetime:
    """A due time after the only replica has ended; the test has ended it."""
    query = "SELECT renewed_at FROM leader_lease WHERE holder IS NULL"
    return await _past_due_after(await _found(database, query, what="a released lease"))


async def _past_due_after(moment: datetime) -> datetime:
    """The second full second after `moment`, once it has passed."""
    due = moment.replace(microsecond=0) + 2 * _SECOND
    await wait_until_async(lambda: datetime.now(UTC) > due + _SECOND, what="a due time to pass")
    return due


async def _found(database: TestDatabase, query: str, *, what: str) -> datetime:
    async def first() -> datetime | None:
        rows = await database.execute(query)
        return _moment(rows[0][0]) if rows else None

    return await wait_until_async(first, what=what)


def _moment(stored: Any) -> datetime:
    """A stored time, which SQLite gives as text."""
    moment = datetime.fromisoformat(stored) if isinstance(stored, str) else stored
    assert isinstance(moment, datetime)
    return moment.replace(tzinfo=UTC)


_LED = [
    Case(
        "late",
        ReasonKind.MISSED,
        "older than misfire_grace_s = 300",
        "piko trigger late runs it once, now; piko edit late --set misfire_grace_s=SECONDS",
        partial(_of_run, job_id="late", like="misfire_grace_s"),
    ),
    Case(
        "late",
        ReasonKind.COALESCED,
        "coalesced into a later instant",
        "piko edit late --set coalesce=false",
        partial(_of_run, job_id="late", like="coalesced"),
    ),
    Case(
        "busy",
        ReasonKind.OVERLAP,
        "1 of max_instances = 1 in progress (overlap_policy = skip)",
        "piko edit busy --set overlap_policy=queue_all",
        partial(_of_run, job_id="busy", like="overlap_policy = skip"),
    ),
    Case(
        "bounded",
        ReasonKind.OUT_OF_BOUNDS,
        "beyond backfill_max_windows = 2",
        "piko backfill bounded --from ",
        partial(_of_run, job_id="bounded", like="backfill_max_windows"),
    ),
    Case(
        "configless",
        ReasonKind.WAITS_FOR_CONFIG,
        "table: Field required",
        "apply a PikoJobConfig, or write its row of job_config",
        partial(_of_status, job_id="configless", status="WaitingForConfig"),
    ),
    Case(
        "wrong",
        ReasonKind.INVALID,
        "61",
        "piko edit wrong --set FIELD=VALUE",
        partial(_of_status, job_id="wrong", status="Invalid"),
    ),
    Case(
        "paused",
        ReasonKind.PAUSED,
        "paused",
        "due times of a pause are not made up; piko trigger paused runs it once, now",
        _of_pause,
    ),
    Case(
        "held",
        ReasonKind.FENCED,
        "another leader had taken over, so what its instance wrote changed nothing",
        "piko runs retry ",
        partial(_of_run, job_id="held", like="another leadership"),
    ),
]
_LEADERLESS = Case(
    "busy",
    ReasonKind.NO_LEADER,
    "no replica has taken it",
    "piko run MODULE:APP starts a replica",
    _of_nobody,
)


async def test_each_reason_is_named_with_the_line_that_cures_it(
    emptied_database: TestDatabase, tmp_path: Path
) -> None:
    database = emptied_database
    await _declare(database)
    app, begun, over = _app()
    settings = load_settings(
        environment={},
        directory=tmp_path,
        mysql_dsn=database.dsn,
        spool_dir=tmp_path / "spool",
        leader_renew_interval_s=1,
        heartbeat_interval_s=1,
        poll_interval_s=0.1,
    )
    async with opened(database) as here:
        async with app.running(settings):
            try:
                await asyncio.wait_for(begun.wait(), PATIENCE_S)
                for case in _LED:
                    if case.kind is ReasonKind.FENCED:
                        await LeaseStore(database=here).acquire(
                            settings.leader_name, holder="another", host="another", lease_s=1, force=True
                        )
                    await _until_said(case, here, database, tmp_path)
            finally:
                over.set()
        await _until_said(_LEADERLESS, here, database, tmp_path)


async def _declare(database: TestDatabase) -> None:
    long_ago = {"created_at": LONG_AGO, "updated_at": LONG_AGO}
    hour_ago = datetime.now(UTC).replace(microsecond=0, tzinfo=None) - timedelta(hours=1)
    await schedule(database, "late", _EACH_MINUTE, **long_ago)
    await schedule(database, "busy", _EACH_SECOND)
    await schedule(database, "held", _EACH_SECOND)
    await schedule(database, "paused", _EACH_SECOND)
    await schedule(database, "configless", _EACH_SECOND)
    await schedule(database, "wrong", '"61 * * * *"', schedule_type="cron")
    await schedule(
        database, "bounded", _EACH_MINUTE, last_data_time=str(hour_ago), backfill_max_windows=2, **long_ago
    )


def _app() -> tuple[PikoApp, asyncio.Event, asyncio.Event]:
    """The app, what says that `held` runs, and what ends the handlers that take long."""
    app, begun, over = PikoApp(name="trial"), asyncio.Event(), asyncio.Event()

    @app.job(job_id="busy")
    async def busy(ctx: Any, scheduled_time: datetime) -> None:
        await over.wait()

    @app.job(job_id="held")
    async def held(ctx: Any, scheduled_time: datetime) -> None:
        begun.set()
        await over.wait()

    @app.job(job_id="configless", schema=Target)
    async def configless(ctx: Any, scheduled_time: datetime) -> None:
        """It never runs."""

    for job_id in ("late", "paused", "wrong"):

        @app.job(job_id=job_id)
        async def quick(ctx: Any, scheduled_time: datetime) -> None:
            """Does nothing."""

    @app.job(job_id="bounded", stateful=True)
    async def bounded(ctx: Any, scheduled_time: datetime) -> None:
        """Does nothing."""

    return app, begun, over


async def _until_said(case: Case, here: Database, database: TestDatabase, folder: Path) -> None:
    """The reason is named with its cure: for programs, and by `piko why` in one line."""
    at = await case.stage(database, folder)

    async def named() -> bool:  # an instance is known to live on by its next heartbeat
        explained = await explain_job(here, case.job_id, at=at, timezone="UTC")
        return any(
            reason.kind is case.kind and case.said in reason.text and case.cure in (reason.remedy or "")
            for reason in explained.reasons
        )

    await wait_until_async(named, what=f"{case.job_id} at {at}: {case.kind}, {case.said}, {case.cure}")
    answer = await asyncio.to_thread(
        piko_here, "why", case.job_id, instant_text(at), cwd=folder, dsn=database.dsn
    )
    assert answer.code == OK, answer.err
    lines = answer.out.splitlines()
    assert any(case.said in line and case.cure in line for line in lines), lines
