"""Which lost runs were taken from an instance that was alive, because it no longer led."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from piko.core.types import RunState
from piko.store.engine import Database
from piko.store.reports.overview import RunReport
from piko.store.schema.tables.replicas import runtime_instance
from piko.store.schema.tables.runs import job_run


async def fenced_among(database: Database, runs: Sequence[RunReport]) -> set[str]:
    """Which of `runs` are lost because another leader took them from their instance, which was alive."""
    lost = [run.run_id for run in runs if run.state == RunState.LOST]
    if not lost:
        return set()
    statement = (
        select(job_run.c.run_id)
        .join(runtime_instance, runtime_instance.c.instance_id == job_run.c.instance_id)
        .where(
            job_run.c.run_id.in_(lost),
            runtime_instance.c.fenced_epoch >= job_run.c.epoch,
            runtime_instance.c.heartbeat_at > job_run.c.finished_at,
        )
    )
    async with database.statements() as connection:
        return set((await connection.execute(statement)).scalars())
