"""A client that follows events hears once of what happens, and many who follow cost no more than one."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from piko.model.objectives import LATE_S
from piko.store.reports import happenings
from piko.web import event_feed
from tests.harness.databases import TestDatabase
from tests.harness.statements import sent_to
from tests.harness.waiting import PATIENCE_S, wait_until_async
from tests.web.rows import add_jobs, add_runs, add_states
from tests.web.serving import Listener, listening, served

_LOOKED_AT = ("leader_lease", "finished_at", "job_state")
"""In each of the three statements of a look is one of these."""


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_feed, "LOOK_S", 0.1)
    look_far_back(monkeypatch)


def look_far_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take longer than a look goes back, from an instant to the commit that has it."""
    monkeypatch.setattr(happenings, "_OVERLAP", timedelta(hours=1))


async def end_run(database: TestDatabase, run_id: str) -> None:
    """The server says when: a connection may take longer than events look back."""
    sqlite = database.kind == "sqlite"
    now = "strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'" if sqlite else "UTC_TIMESTAMP(6)"
    await database.execute(
        f"UPDATE job_run SET state = 'SUCCESS', finished_at = {now} WHERE run_id = '{run_id}'"
    )


async def heard_of(listener: Listener, kind: str) -> Any:
    while (heard := await listener.next()).kind != kind:
        pass
    return heard.data


async def looking(database: TestDatabase) -> None:
    """Return when a look at the database is over: the next one has begun."""
    with sent_to(database, of="finished_at") as looks:
        await wait_until_async(lambda: len(looks) > 1 or None, what="two looks at the database")


async def test_a_run_that_ends_a_job_that_changes_and_a_new_leader_are_heard_of_once(
    emptied_database: TestDatabase,
) -> None:
    await add_jobs(emptied_database, "a", "b")
    await add_runs(emptied_database, "a", ["RUNNING"])
    async with served(emptied_database) as origin, listening(origin) as listener:
        await looking(emptied_database)
        await end_run(emptied_database, "run-000")
        ended = await heard_of(listener, "runs_ended")
        assert ended == {"runs": [{"run_id": "run-000", "job_id": "a", "state": "SUCCESS"}], "more": False}
        await emptied_database.execute(
            "UPDATE scheduled_job SET priority = 1, version = version + 1 WHERE job_id = 'b'"
        )
        assert (await heard_of(listener, "jobs_changed"))["jobs"] == ["b"]
        await emptied_database.execute("INSERT INTO leader_lease (name, epoch) VALUES ('default', 1)")
        assert await heard_of(listener, "leader_changed") == {"leaders": ["default"]}


async def test_a_job_that_becomes_late_is_heard_of_although_nothing_writes(
    emptied_database: TestDatabase,
) -> None:
    await add_jobs(emptied_database, "a")
    for ahead_s in (5, 20, 80):  # a busy machine may take long before its first look
        late_at = datetime.now(UTC) + timedelta(seconds=ahead_s)
        await emptied_database.execute("DELETE FROM job_state")
        await add_states(emptied_database, {"a": ("Scheduled", late_at - timedelta(seconds=LATE_S), 0)})
        async with served(emptied_database) as origin, listening(origin) as listener:
            await looking(emptied_database)
            if datetime.now(UTC) < late_at:
                assert (await heard_of(listener, "jobs_changed"))["jobs"] == ["a"]
                assert datetime.now(UTC) >= late_at
                return
    raise AssertionError(f"the first look took more than {ahead_s} s")


async def test_a_stream_goes_on_where_it_was_cut_off(emptied_database: TestDatabase) -> None:
    await add_runs(emptied_database, "a", ["RUNNING"] * 2)
    async with served(emptied_database) as origin, listening(origin) as other:
        async with listening(origin) as listener:
            await looking(emptied_database)
            await end_run(emptied_database, "run-000")
            first = await listener.next()
        await end_run(emptied_database, "run-001")
        await heard_of(other, "runs_ended")
        await heard_of(other, "runs_ended")
        async with listening(origin, after=first.id) as listener:
            missed = await listener.next()
        assert (first.kind, missed.kind) == ("runs_ended", "runs_ended")
        assert missed.data["runs"][0]["run_id"] == "run-001"


@pytest.mark.parametrize("after", ["another-7", "nonsense", "x" * 90])
async def test_who_comes_back_with_an_id_of_another_process_reads_everything_again(
    emptied_database: TestDatabase, after: str
) -> None:
    async with served(emptied_database) as origin, listening(origin, after=after) as listener:
        assert (await listener.next()).kind == "reset"


async def test_many_who_follow_cost_one_look_at_a_time(emptied_database: TestDatabase) -> None:
    await add_runs(emptied_database, "a", ["RUNNING"])
    async with served(emptied_database, most=60) as origin, AsyncExitStack() as stack:
        listeners = [await stack.enter_async_context(listening(origin)) for _ in range(30)]
        await looking(emptied_database)
        began = time.monotonic()
        with sent_to(emptied_database) as sent:
            await end_run(emptied_database, "run-000")
            heard = await asyncio.gather(*(listener.next() for listener in listeners))
        elapsed_s = time.monotonic() - began
        assert {each.kind for each in heard} == {"runs_ended"}
        assert len({each.id for each in heard}) == 1
        read = [statement for statement, _ in sent if statement.startswith("SELECT")]
        looks = sum("finished_at" in statement for statement in read)
        # A look is three statements; the first and the last one may be there in part.
        assert sum(any(name in each for name in _LOOKED_AT) for each in read) <= 3 * (looks + 1)
        # After each comes a pause, so that thirty who looked for themselves would look thirty times as often.
        assert looks <= elapsed_s / event_feed.LOOK_S + 2


async def test_nobody_is_asked_while_nobody_follows(emptied_database: TestDatabase) -> None:
    async with served(emptied_database) as origin:
        async with listening(origin):
            await looking(emptied_database)
        async with httpx.AsyncClient(base_url=origin, timeout=PATIENCE_S) as client:

            async def unasked() -> bool:
                with sent_to(emptied_database, of="finished_at") as looks:
                    for _ in range(3):
                        await client.get("/api/v1/jobs")
                        await asyncio.sleep(3 * event_feed.LOOK_S)
                return not looks

            await wait_until_async(unasked, what="the server to see that nobody follows, and to ask no more")


async def test_followers_leave_room_for_those_who_read(emptied_database: TestDatabase) -> None:
    async with served(emptied_database, most=8) as origin, AsyncExitStack() as stack:
        for _ in range(6):
            await stack.enter_async_context(listening(origin))
        async with httpx.AsyncClient(base_url=origin, timeout=PATIENCE_S) as client:
            refused = await client.get("/api/v1/events")
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "30")
            assert "read again from time to time" in refused.json()["detail"]
            assert (await client.get("/api/v1/jobs")).status_code == 200


async def test_a_stop_ends_the_streams(emptied_database: TestDatabase) -> None:
    async with AsyncExitStack() as stack:
        async with served(emptied_database) as origin:
            listener = await stack.enter_async_context(listening(origin))
        assert await listener.ended()
