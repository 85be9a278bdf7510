"""A row that is deleted and written again goes on where the one before stopped."""

from __future__ import annotations

from datetime import datetime, timedelta

from tests.harness.databases import TestDatabase
from tests.harness.waiting import wait_until_async
from tests.runtime.replicas import Replicas, schedule, until_runs

_KEPT = "SELECT data_through, row_gone_at FROM job_state WHERE job_id = 'windows'"


async def windows(database: TestDatabase) -> list[tuple[datetime, datetime]]:
    found = await database.execute(
        "SELECT window_start, window_end FROM job_run WHERE state = 'SUCCESS' ORDER BY window_start, run_id"
    )
    return [(start, end) for start, end in found]


async def until_window(database: TestDatabase, *, after: datetime) -> datetime:
    """The start of the first window that does not begin before `after`; nothing of before is taken for it."""

    async def start() -> datetime | None:
        return next((start for start, _ in await windows(database) if start >= after), None)

    return await wait_until_async(start, what=f"a window after {after}")


async def until_kept(database: TestDatabase) -> datetime:
    """The watermark that the leader kept when it saw that the row went."""

    async def gone() -> datetime | None:
        ((through, gone_at),) = await database.execute(_KEPT)
        return through if gone_at is not None else None

    return await wait_until_async(gone, what="the leader to see that the row went")


async def until_nothing_runs(database: TestDatabase) -> None:
    async def none() -> bool:
        return not await database.execute("SELECT 1 FROM job_run WHERE state IN ('QUEUED', 'RUNNING')")

    await wait_until_async(none, what="the end of what ran when the row went")


async def test_windows_meet_however_the_row_went(replicas: Replicas, migrated_mariadb: TestDatabase) -> None:
    database = migrated_mariadb
    await schedule(database, "windows")
    first = replicas.start(database.dsn, name="first")
    done = len(await until_runs(database, "windows", 2))

    # Seen by the leader.
    await database.execute("DELETE FROM scheduled_job")
    kept = await until_kept(database)
    await schedule(database, "windows")
    first.process.wait_for_line("progress_restored")
    done = len(await until_runs(database, "windows", done + 2))

    # Between two of its looks.
    await database.execute("DELETE FROM scheduled_job")
    await schedule(database, "windows")
    done = len(await until_runs(database, "windows", done + 3))

    # By REPLACE, while nobody leads.
    assert first.process.terminate() == 0
    await database.execute(
        "REPLACE INTO scheduled_job (job_id, schedule_type, schedule_expr) "
        "VALUES ('windows', 'interval', '{\"seconds\": 1}')"
    )
    second = replicas.start(database.dsn, name="second")
    second.process.wait_for_line("progress_restored")
    await until_runs(database, "windows", done + 2)
    assert second.process.terminate() == 0

    found = await windows(database)
    assert [end for _, end in found[:-1]] == [start for start, _ in found[1:]], "no hole, none twice"
    assert kept in [end for _, end in found]


async def test_what_was_forgotten_and_what_was_set_to_null_begin_afresh(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    database = migrated_mariadb
    await schedule(database, "windows")
    replica = replicas.start(database.dsn)
    await until_runs(database, "windows", 1)
    await database.execute("DELETE FROM scheduled_job")
    await until_kept(database)
    await until_nothing_runs(database)  # whose end would keep progress again
    await database.execute("DELETE FROM job_state WHERE job_id = 'windows'")  # as `piko forget` does
    await database.execute("DO SLEEP(3)")
    (_, through) = (await windows(database))[-1]
    await schedule(database, "windows")
    assert await until_window(database, after=through) >= through + timedelta(seconds=1)

    # The last full window, once more.
    assert replica.process.terminate() == 0
    (_, through) = (await windows(database))[-1]
    await database.execute("UPDATE scheduled_job SET last_data_time = NULL")
    await database.execute("DO SLEEP(3)")
    replica = replicas.start(database.dsn, name="again")
    assert await until_window(database, after=through) >= through + timedelta(seconds=1)
    assert "progress_restored" not in replica.process.output
    assert replica.process.terminate() == 0
