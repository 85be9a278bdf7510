"""Jobs with an objective as the database knows them, on each database."""

from __future__ import annotations

from datetime import UTC, datetime

from piko.store.engine import Database
from piko.store.reports.objectives import Objectives
from tests.harness.databases import TestDatabase

_ROW = (
    "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr{}) "
    "VALUES ('{}', 'cron', '\"0 * * * *\"'{})"
)
_CODE = (
    "INSERT INTO job_definition (job_id, app, handler, stateful, content_hash, instance_id, data_within_s, "
    "timezone) VALUES ('{}', 'demo', 'app:f', 1, 'h', 'one', {}, 'Asia/Shanghai')"
)
_RUN = (
    "INSERT INTO job_run (run_id, job_id, scheduled_time, attempt, state, trigger_type, epoch) VALUES "
    "('{}', '{}', '2026-01-08 {}:00:00', {}, '{}', '{}', 1)"
)


async def test_the_row_says_what_is_promised_and_where_it_is_silent_the_code(
    store: Database, emptied_database: TestDatabase
) -> None:
    sql = emptied_database.execute
    await sql(_ROW.format("", "nothing", ""))
    await sql(_ROW.format(", data_within_s", "row", ", 60"))
    await sql(_ROW.format(", timezone", "code", ", 'UTC'"))
    await sql(_ROW.format(", data_within_s, finish_within_s", "both", ", 60, 5"))
    await sql(_CODE.format("code", 120))
    await sql(_CODE.format("both", 120))
    await sql(
        "INSERT INTO job_state (job_id, status, cursor_at, last_success_at) VALUES "
        "('row', 'Scheduled', '2026-01-08 10:00:00', '2026-01-08 09:00:01')"
    )
    reads = Objectives(database=store)
    found = await reads.all()
    assert found == await reads.read(["nothing", "row", "code", "both", "unknown"])
    promised = {key: (job.data_within_s, job.finish_within_s, job.stateful) for key, job in found.items()}
    assert promised == {"row": (60, None, False), "code": (120, None, True), "both": (60, 5, True)}
    assert [found[key].timezone for key in ("row", "code", "both")] == [None, "UTC", "Asia/Shanghai"]
    assert found["row"].cursor_at == datetime(2026, 1, 8, 10, tzinfo=UTC)
    assert found["row"].last_success_at == datetime(2026, 1, 8, 9, 0, 1, tzinfo=UTC)
    assert (await reads.signs()).keys() == found.keys()


async def test_open_runs_say_what_has_not_started_and_not_ended(
    store: Database, emptied_database: TestDatabase
) -> None:
    sql = emptied_database.execute
    await sql(_ROW.format(", start_within_s", "job", ", 60"))
    await sql(_ROW.format(", data_within_s", "other", ", 60"))
    for number, (job_id, hour, attempt, state, trigger) in enumerate(
        [
            ("job", "01", 1, "QUEUED", "backfill"),
            ("job", "02", 1, "SUCCESS", "schedule"),
            ("job", "03", 2, "QUEUED", "retry"),
            ("job", "04", 1, "RUNNING", "schedule"),
            ("job", "05", 1, "QUEUED", "schedule"),
            ("other", "03", 1, "RUNNING", "schedule"),
        ]
    ):
        await sql(_RUN.format(f"run-{number}", job_id, hour, attempt, state, trigger))
    found = await Objectives(database=store).all()
    assert found["job"].unended_since == datetime(2026, 1, 8, 3, tzinfo=UTC), (
        "the retry belongs to a due time"
    )
    assert found["job"].unstarted_since == datetime(2026, 1, 8, 5, tzinfo=UTC), "the retry has been tried"
    assert found["other"].unended_since is None, "it promises nothing of that"


async def test_failures_are_those_of_jobs_that_have_a_row(
    store: Database, emptied_database: TestDatabase
) -> None:
    await emptied_database.execute(_ROW.format("", "job", ""))
    await emptied_database.execute(_ROW.format("", "fine", ""))
    await emptied_database.execute(
        "INSERT INTO job_state (job_id, status, consecutive_failures) VALUES "
        "('job', 'Scheduled', 3), ('fine', 'Scheduled', 0), ('deleted', 'Scheduled', 7)"
    )
    assert await Objectives(database=store).failures() == {"job": 3}


async def test_what_moves_a_deadline_changes_the_sign_of_its_job_alone(
    store: Database, emptied_database: TestDatabase
) -> None:
    sql, reads = emptied_database.execute, Objectives(database=store)
    for job_id in ("a", "b"):
        await sql(_ROW.format(", data_within_s", job_id, ", 60"))
        await sql(f"INSERT INTO job_state (job_id, status) VALUES ('{job_id}', 'Scheduled')")
    before = await reads.signs()
    for edit in (
        "UPDATE scheduled_job SET last_data_time = '2026-01-08 10:00:00' WHERE job_id = 'a'",
        "UPDATE job_state SET last_success_at = '2026-01-08 10:00:00' WHERE job_id = 'a'",
        _CODE.format("a", 120),
    ):
        await sql(edit)
        after = await reads.signs()
        assert (after["a"] != before["a"], after["b"] == before["b"]) == (True, True), edit
        before = after
