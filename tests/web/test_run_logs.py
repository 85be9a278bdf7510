"""The log of a run: read at once, or followed until the run has ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import httpx
import pytest

from piko.web import log_feed
from piko.web.log_feed import LogFeed
from piko.web.shared_look import KEEPALIVE_S
from tests.harness.databases import TestDatabase
from tests.harness.statements import sent_to
from tests.harness.waiting import PATIENCE_S, wait_until_async
from tests.store.making import opened
from tests.web.clients import serving
from tests.web.rows import add_runs, quoted
from tests.web.serving import Listener, served
from tests.web.test_events import end_run

LOG = "/api/v1/runs/run-000/log"


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_feed, "LOOK_S", 0.1)


@asynccontextmanager
async def following(origin: str, *, run_id: str = "run-000", after: int = 0) -> AsyncIterator[Listener]:
    """A follower of the log of a run, who has had the first `after` lines."""
    async with (
        httpx.AsyncClient(base_url=origin, timeout=PATIENCE_S) as client,
        client.stream(
            "GET",
            f"/api/v1/runs/{run_id}/log",
            headers={"Accept": "text/event-stream", "Last-Event-ID": str(after)},
        ) as answer,
    ):
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Listener(answer)


async def say(
    database: TestDatabase, *lines: str, run_id: str = "run-000", left_out: int = 0, done: int = 0
) -> None:
    """What the run has logged so far, as its replica writes it; `left_out` lines are not kept behind them."""
    await database.execute(f"DELETE FROM run_log WHERE run_id = '{run_id}'")
    await database.execute(
        "INSERT INTO run_log (run_id, job_id, head, line_count, left_out, progress_done, progress_total, "
        f"result, written_at) VALUES ('{run_id}', 'orders', '{chr(10).join(lines)}', "
        f"{len(lines) + left_out}, "
        f"{left_out}, {done}, 10, '{{\"rows\": 7}}', {quoted(datetime.now(UTC))})"
    )


async def test_a_log_is_text_or_json_by_what_is_asked_for(emptied_database: TestDatabase) -> None:
    await add_runs(emptied_database, "a", ["RUNNING"])
    await say(emptied_database, "reading", "read", done=3)
    async with serving(emptied_database) as client:
        text = await client.get(LOG, headers={"Accept": "text/plain"})
        document = await client.get(LOG, headers={"Accept": "application/json"})
        rest = await client.get(LOG, params={"after": 1})
    assert (text.headers["content-type"], text.text) == ("text/plain; charset=utf-8", "reading\nread\n")
    assert rest.text == "read\n"
    found = document.json()
    assert (found["line_count"], found["progress_done"], found["result"]) == (2, 3, '{"rows": 7}')


async def test_a_run_that_said_nothing_has_an_empty_log(emptied_database: TestDatabase) -> None:
    await add_runs(emptied_database, "a", ["SUCCESS"])
    async with serving(emptied_database) as client:
        assert (await client.get(LOG)).text == ""
        assert (await client.get(LOG, headers={"Accept": "application/json"})).json() is None
        missing = await client.get("/api/v1/runs/nobody/log", headers={"Accept": "text/event-stream"})
    assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json")


async def test_a_follower_hears_new_lines_progress_and_the_end(emptied_database: TestDatabase) -> None:
    await add_runs(emptied_database, "a", ["RUNNING"])
    await say(emptied_database, "one", "two")
    async with served(emptied_database) as origin, following(origin) as follower:
        heard = [await follower.next(), await follower.next()]
        await say(emptied_database, "one", "two", "three", done=10)
        heard += [await follower.next(), await follower.next()]
        await end_run(emptied_database, "run-000")
        heard.append(await follower.next())
        assert await follower.ended()
    assert [(item.kind, item.data) for item in heard] == [
        ("lines", ["one", "two"]),
        ("progress", "0 of 10"),
        ("lines", ["three"]),
        ("progress", "10 of 10"),
        ("ended", "SUCCESS"),
    ]


async def test_lines_that_are_written_after_the_end_of_the_run_are_heard(
    emptied_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_feed, "_LAST_LOOKS", 10_000)  # a busy machine writes late
    await add_runs(emptied_database, "a", ["SUCCESS"])
    async with served(emptied_database) as origin, following(origin) as follower:
        await say(emptied_database, "the last words")
        assert (await follower.next()).data == ["the last words"]


async def test_a_follower_who_comes_back_hears_what_is_new(emptied_database: TestDatabase) -> None:
    await add_runs(emptied_database, "a", ["RUNNING"])
    await say(emptied_database, "one", "two", "three")
    async with served(emptied_database) as origin, following(origin, after=2) as follower:
        assert (await follower.next()).data == ["three"]


async def test_what_outgrew_its_bounds_is_said_to_be_left_out(emptied_database: TestDatabase) -> None:
    await add_runs(emptied_database, "a", ["RUNNING"])
    await say(emptied_database, "one", left_out=5)
    async with served(emptied_database) as origin, following(origin) as follower:
        assert (await follower.next()).data == ["one", "… 5 lines were left out …"]


async def test_lines_that_come_while_a_slow_follower_takes_others_wait_for_no_further_news(
    emptied_database: TestDatabase,
) -> None:
    await add_runs(emptied_database, "a", ["RUNNING"])
    await say(emptied_database, "one")
    async with opened(emptied_database) as database:
        feed = LogFeed(database=database, most=2)
        slow, other = feed.follow("run-000", after=0), feed.follow("run-000", after=0)
        await until_event(other, b'["one"]')
        await until_event(slow, b'["one"]')
        await say(emptied_database, "one", "two")
        await until_event(other, b'["two"]')  # its look has found them, and no further look finds news
        async with asyncio.timeout(KEEPALIVE_S - 1):  # it does not wait at all
            await until_event(slow, b'["two"]')
        await slow.aclose()
        await other.aclose()


async def until_event(events: AsyncGenerator[bytes], data: bytes) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while data not in await anext(events):
            pass


async def test_many_who_follow_one_log_cost_one_look_at_a_time(emptied_database: TestDatabase) -> None:
    await add_runs(emptied_database, "a", ["RUNNING"])
    await say(emptied_database, "one")
    async with served(emptied_database, most=60) as origin, AsyncExitStack() as stack:
        followers = [await stack.enter_async_context(following(origin)) for _ in range(30)]
        for follower in followers:
            assert (await follower.next()).data == ["one"]
        stamps = "job_run.state, run_log.line_count"
        with (
            sent_to(emptied_database, of="run_log.head") as logs,
            sent_to(emptied_database, of=stamps) as looks,
        ):
            await wait_until_async(lambda: len(looks) >= 3 or None, what="three looks at the database")
            assert logs == [], "nobody reads a log that says nothing new"
            await say(emptied_database, "one", "two")
            for follower in followers:
                while (heard := await follower.next()).kind != "lines":
                    pass
                assert heard.data == ["two"]
        assert len(logs) <= 2, "one log, however many follow it"


async def test_a_follower_for_whom_there_is_no_room_hears_when_to_come_back(
    emptied_database: TestDatabase,
) -> None:
    await add_runs(emptied_database, "a", ["RUNNING"])
    async with serving(emptied_database, most_streams=0) as client:
        refused = await client.get(LOG, headers={"Accept": "text/event-stream"})
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "30")
    assert "read the log from time to time" in refused.json()["detail"]
