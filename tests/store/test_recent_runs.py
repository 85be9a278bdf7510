"""The last runs of many jobs, for the status of their resources, on each database."""

from __future__ import annotations

from datetime import UTC, datetime

from piko.store.engine import Database
from piko.store.reports.summaries import Summaries
from tests.harness.databases import TestDatabase

_RUN = (
    "INSERT INTO job_run (run_id, job_id, scheduled_time, attempt, state, started_at, duration_s, error, "
    "backfill_id) VALUES ('{}', '{}', '2026-01-08 {}:00:00', {}, '{}', '2026-01-08 {}:00:0{}', 1.5, {}, {})"
)


async def test_the_five_newest_runs_that_ended_are_read_of_each_job(
    store: Database, emptied_database: TestDatabase
) -> None:
    for run_id, hour, attempt, state, backfill in (
        ("first", "01", 1, "SUCCESS", "NULL"),
        ("lost", "02", 1, "LOST", "NULL"),
        ("failed", "03", 1, "FAILED", "NULL"),
        ("z-once", "04", 1, "TIMEOUT", "NULL"),
        ("again", "04", 2, "SUCCESS", "NULL"),
        ("cancelled", "05", 1, "CANCELLED", "NULL"),
        ("backfilled", "06", 1, "SUCCESS", "'b'"),
        ("missed", "07", 1, "MISSED", "NULL"),
        ("skipped", "08", 1, "SKIPPED", "NULL"),
        ("running", "09", 1, "RUNNING", "NULL"),
        ("queued", "10", 1, "QUEUED", "NULL"),
    ):
        await emptied_database.execute(
            _RUN.format(run_id, "job", hour, attempt, state, hour, attempt, "NULL", backfill)
        )
    error = f"'{'e' * 2000}'"
    await emptied_database.execute(_RUN.format("other", "other", "01", 1, "FAILED", "01", 1, error, "NULL"))

    found = await Summaries(database=store).recent_runs(["job", "other", "nothing"])
    assert [run.run_id for run in found["job"]] == ["cancelled", "again", "z-once", "failed", "lost"]
    (other,) = found["other"]
    assert (other.state, other.duration_s, other.error) == ("FAILED", 1.5, "e" * 512)
    assert other.scheduled_time == datetime(2026, 1, 8, 1, tzinfo=UTC)
    assert other.started_at == datetime(2026, 1, 8, 1, 0, 1, tzinfo=UTC)
    assert found["nothing"] == []


async def test_more_jobs_than_one_statement_names_are_read(
    store: Database, emptied_database: TestDatabase
) -> None:
    jobs = [f"job-{number}" for number in range(120)]
    for job_id in jobs:
        await emptied_database.execute(
            _RUN.format(job_id, job_id, "01", 1, "SUCCESS", "01", 1, "NULL", "NULL")
        )
    found = await Summaries(database=store).recent_runs(jobs)
    assert {job_id: [run.run_id for run in runs] for job_id, runs in found.items()} == {
        job_id: [job_id] for job_id in jobs
    }
