"""A thousand open pages: what they cost the database does not depend on how many there are."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import httpx
import pytest

from piko.web import event_feed, log_feed
from tests.harness.databases import TestDatabase
from tests.harness.statements import sent_to
from tests.harness.waiting import PATIENCE_S, wait_until_async
from tests.web.rows import add_runs
from tests.web.serving import served
from tests.web.test_events import end_run, look_far_back

_PAGES = 1000
_LOGS = 150
_MOST = 1500
"""Connections; followers may take 85 % of them."""


async def test_a_thousand_pages_and_many_followed_logs_cost_the_looks_of_one(
    emptied_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_feed, "LOOK_S", 0.2)
    monkeypatch.setattr(log_feed, "LOOK_S", 0.2)
    look_far_back(monkeypatch)
    await add_runs(emptied_database, "a", ["RUNNING"] * 3)
    async with served(emptied_database, most=_MOST) as origin, AsyncExitStack() as stack:
        events = [await _follow(stack, origin, "/api/v1/events") for _ in range(_PAGES)]
        logs = [await _follow(stack, origin, f"/api/v1/runs/run-00{n % 3}/log") for n in range(_LOGS)]
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*(stream.readuntil(b"retry: ") for stream in (*events, *logs)))
        with (
            sent_to(emptied_database) as sent,
            sent_to(emptied_database, of="finished_at") as event_looks,
            sent_to(emptied_database, of="job_run.state, run_log.line_count") as log_looks,
        ):
            await wait_until_async(lambda: min(len(event_looks), len(log_looks)) > 5 or None, what="looks")
            counted = len(sent), len(event_looks), len(log_looks)
        # Three statements for the events, one for the logs; of the first and the last look a part is seen.
        assert counted[0] <= 3 * (counted[1] + 1) + counted[2] + 1, sent
        async with httpx.AsyncClient(base_url=origin, timeout=PATIENCE_S) as client:
            assert (await client.get("/api/v1/jobs")).status_code == 200
        await end_run(emptied_database, "run-000")
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*(stream.readuntil(b"event: runs_ended") for stream in events))
            await asyncio.gather(*(stream.readuntil(b"event: ended") for stream in logs[::3]))


async def _follow(stack: AsyncExitStack, origin: str, path: str) -> asyncio.StreamReader:
    """A stream of server-sent events, as bytes: a socket costs the test less than a client."""
    where = urlsplit(origin)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)

    async def close() -> None:
        writer.close()
        await writer.wait_closed()

    stack.push_async_callback(close)
    head = f"GET {path} HTTP/1.1\r\nHost: piko.test\r\nAccept: text/event-stream\r\n\r\n"
    writer.write(head.encode())
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
    assert answer.startswith(b"HTTP/1.1 200"), answer
    return reader
