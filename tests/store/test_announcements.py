"""What has been announced is written under the fence, and how a job stands is read from its rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from piko.core.types import DataInterval
from piko.errors import FencedError
from piko.model.announcements import AnnouncedKind, Announcement, Recipient
from piko.store.announcements import AnnouncementStore
from piko.store.engine import Database
from tests.harness.databases import TestDatabase
from tests.store.making import lead

_SINCE = datetime(2026, 1, 5, 8, tzinfo=UTC)
_LATE = Announcement(job_id="orders", kind=AnnouncedKind.LATE, since=_SINCE)


async def test_a_row_stays_until_its_end_is_announced(
    store: Database, emptied_database: TestDatabase
) -> None:
    announcements, fence = AnnouncementStore(database=store, recipient=Recipient.HOOKS), await lead(store)
    failure = replace(_LATE, kind=AnnouncedKind.FAILURE)
    for row in (_LATE, failure, failure):
        await announcements.write(row, fence)
    assert sorted(row.kind for row in await announcements.read_all()) == ["failure", "late"]
    await announcements.remove(_LATE, fence)
    assert await announcements.read_all() == [failure]


async def test_a_leader_that_is_deposed_announces_nothing_as_done(
    store: Database, emptied_database: TestDatabase
) -> None:
    announcements, fence = AnnouncementStore(database=store, recipient=Recipient.HOOKS), await lead(store)
    await announcements.write(_LATE, fence)
    deposed = replace(fence, epoch=fence.epoch - 1)
    for change in (announcements.write, announcements.remove):
        with pytest.raises(FencedError):
            await change(_LATE, deposed)
    assert await announcements.read_all() == [_LATE]


async def test_a_job_is_read_with_the_run_that_ended_last(
    store: Database, emptied_database: TestDatabase
) -> None:
    await emptied_database.execute(
        "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr, data_within_s) "
        "VALUES ('orders', 'cron', '\"@hourly\"', 60), ('new', 'cron', '\"@hourly\"', NULL)"
    )
    await emptied_database.execute(
        "INSERT INTO job_state (job_id, status, last_run_id, last_state, last_error, consecutive_failures) "
        "VALUES ('orders', 'Scheduled', 'r2', 'TIMEOUT', 'too long', 2)"
    )
    await emptied_database.execute(
        "INSERT INTO job_run "
        "(run_id, job_id, scheduled_time, attempt, state, window_start, window_end, error_type) VALUES "
        "('r2', 'orders', '2026-01-05 08:00:00', 2, 'TIMEOUT', "
        "'2026-01-05 07:00:00', '2026-01-05 08:00:00', 'TimeoutError'), "
        "('r3', 'orders', '2026-01-05 08:00:00', 3, 'QUEUED', NULL, NULL, NULL)"
    )
    found = await AnnouncementStore(database=store, recipient=Recipient.HOOKS).progress(
        ["orders", "new", "deleted"]
    )
    assert found.keys() == {"orders", "new"}
    orders, new = found["orders"], found["new"]
    assert (orders.failures, orders.is_retried, new.failures, new.is_retried) == (2, True, 0, False)
    assert new.last_run is None
    assert new.objective is None
    assert orders.objective is not None
    assert orders.last_run is not None
    assert (orders.last_run.attempt, orders.last_run.error_type) == (2, "TimeoutError")
    assert orders.last_run.window == DataInterval(_SINCE.replace(hour=7), _SINCE)
