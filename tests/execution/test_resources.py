"""Resources around real runs: the outcome is the handler's, and whatever was opened is closed."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from piko import PikoApp
from piko.core.resource import AppContext, resource
from piko.errors import ResourceError
from piko.execution.resources import AppResources, RunResources
from piko.settings import Settings
from piko.store.schema.migrate import upgrade
from tests.harness.databases import TestDatabase
from tests.harness.waiting import PATIENCE_S, wait_until_async

Events = defaultdict[str, list[str]]


class Recorded:
    """A resource that notes its life cycle, and misbehaves as configured."""

    def __init__(self, name: str, events: Events, *, fails: str = "", swallows: bool = False) -> None:
        self.name = name
        self.events = events
        self.fails = fails
        self.swallows = swallows

    @asynccontextmanager
    async def acquire(self, ctx: Any) -> AsyncIterator[str]:
        events = self.events[ctx["job_id"]]
        if self.fails == "acquire":
            raise ConnectionError(f"{self.name} is down")
        events.append(f"+{self.name}")
        try:
            yield self.name
        except BaseException as error:
            events.append(f"{self.name} saw {type(error).__name__}")
            if not self.swallows:
                raise
        finally:
            await asyncio.sleep(0)
            events.append(f"-{self.name}")
            if self.fails == "release":
                raise OSError(f"{self.name} does not close")


@resource(scope="app")
class Pool:
    """Counts how often it is opened; the first time fails."""

    openings: list[str]
    fail_first: bool

    @asynccontextmanager
    async def acquire(self, ctx: AppContext) -> AsyncIterator[object]:
        self.openings.append(f"opened for {ctx.app}")
        if self.fail_first and len(self.openings) == 1:
            raise ConnectionError("the pool is not there yet")
        try:
            yield self
        finally:
            self.openings.append("closed")


@contextmanager
def jobs_of(app: PikoApp, events: Events) -> Iterator[None]:
    def a(**how: Any) -> Recorded:
        return Recorded("a", events, **how)

    def b(**how: Any) -> Recorded:
        return Recorded("b", events, **how)

    @app.job("well", resources={"a": a(), "b": b()})
    async def well(ctx: Any, scheduled_time: Any, a: str, b: str) -> None:
        events["well"].append(f"handler {a} {b}")

    @app.job("acquire-fails", resources={"a": a(), "b": b(fails="acquire")})
    async def acquire_fails(ctx: Any, scheduled_time: Any, a: str, b: str) -> None:
        events["acquire-fails"].append("handler")

    @app.job("release-fails", resources={"a": a(), "b": b(fails="release")})
    async def release_fails(ctx: Any, scheduled_time: Any, a: str, b: str) -> None:
        events["release-fails"].append("handler")

    @app.job("both-fail", resources={"a": a(fails="release"), "b": b()})
    async def both_fail(ctx: Any, scheduled_time: Any, a: str, b: str) -> None:
        raise ValueError("the handler's own")

    @app.job("swallowed", resources={"a": a(), "b": b(swallows=True)})
    async def swallowed(ctx: Any, scheduled_time: Any, a: str, b: str) -> None:
        raise ValueError("swallow this")

    @app.job("late", resources={"a": a(fails="release"), "b": b()}, timeout_s=1.5)
    async def late(ctx: Any, scheduled_time: Any, a: str, b: str) -> None:
        await asyncio.Event().wait()

    @app.job("late-and-swallowed", resources={"a": a(swallows=True)}, timeout_s=1.5)
    async def late_and_swallowed(ctx: Any, scheduled_time: Any, a: str) -> None:
        await asyncio.Event().wait()

    yield


EXPECTED = {
    "well": ("SUCCESS", None, ["+a", "+b", "handler a b", "-b", "-a"]),
    "acquire-fails": ("FAILED", "ResourceError", ["+a", "a saw ResourceError", "-a"]),
    "release-fails": ("FAILED", "ResourceError", ["+a", "+b", "handler", "-b", "-a"]),
    "both-fail": ("FAILED", "ValueError", ["+a", "+b", "b saw ValueError", "-b", "a saw ValueError", "-a"]),
    "swallowed": ("FAILED", "ValueError", ["+a", "+b", "b saw ValueError", "-b", "a saw ValueError", "-a"]),
    "late": ("TIMEOUT", "TimeoutError", ["+a", "+b", "b saw TimeoutError", "-b", "a saw TimeoutError", "-a"]),
    "late-and-swallowed": ("TIMEOUT", "TimeoutError", ["+a", "a saw TimeoutError", "-a"]),
}


async def _schedule_once(database: TestDatabase, job_id: str) -> None:
    """It is due by now, and its row was there before."""
    now = datetime.now(UTC)
    await database.execute(
        "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr, updated_at) VALUES "
        f"('{job_id}', 'date', '{{\"run_date\": \"{now:%Y-%m-%d %H:%M:%S}\"}}', '2026-01-01 00:00:00')"
    )


async def _outcome(database: TestDatabase, job_id: str) -> Any:
    async def over() -> Any:
        return await database.execute(
            "SELECT state, error_type, error FROM job_run "
            f"WHERE job_id = '{job_id}' AND finished_at IS NOT NULL"
        )

    rows = await wait_until_async(over, what=f"a finished run of {job_id}")
    return rows[0]


def _settings(database: TestDatabase, **more: Any) -> Settings:
    return Settings.model_validate({"mysql_dsn": database.dsn, "poll_interval_s": 0.2, **more})


async def test_the_outcome_is_the_handlers_and_all_that_was_opened_is_closed(sqlite: TestDatabase) -> None:
    await upgrade(sqlite.dsn)
    events: Events = defaultdict(list)
    app = PikoApp("trial")
    with jobs_of(app, events):
        for job_id in EXPECTED:
            await _schedule_once(sqlite, job_id)
        async with app.running(_settings(sqlite)):
            found = {job_id: await _outcome(sqlite, job_id) for job_id in EXPECTED}
    assert {job_id: (state, kind, events[job_id]) for job_id, (state, kind, _) in found.items()} == EXPECTED
    text = {job_id: row[2] for job_id, row in found.items()}
    refused = (
        "resource 'b' (tests.execution.test_resources.Recorded) could not be acquired: ConnectionError: "
    )
    assert refused + "b is down" in text["acquire-fails"]
    assert "resource 'b'" in text["release-fails"]
    assert "failed to be released: OSError: b does not close" in text["release-fails"]
    assert "the handler's own" in text["both-fail"]
    assert "a does not close" in text["both-fail"]


async def test_a_run_that_is_cut_off_at_a_stop_closes_what_it_opened(sqlite: TestDatabase) -> None:
    await upgrade(sqlite.dsn)
    events: Events = defaultdict(list)
    app = PikoApp("trial")
    begun = asyncio.Event()

    @app.job("endless", resources={"a": Recorded("a", events), "b": Recorded("b", events, fails="release")})
    async def endless(ctx: Any, scheduled_time: Any, a: str, b: str) -> None:
        begun.set()
        await asyncio.Event().wait()

    await _schedule_once(sqlite, "endless")
    async with app.running(_settings(sqlite, drain_timeout_s=0.1)):
        await asyncio.wait_for(begun.wait(), PATIENCE_S)
    assert events["endless"] == ["+a", "+b", "b saw CancelledError", "-b", "a saw CancelledError", "-a"]
    state, kind, _ = await _outcome(sqlite, "endless")
    assert (state, kind) == ("CANCELLED", "CancelledError")


async def test_a_resource_of_the_app_is_opened_once_shared_and_closed_at_the_stop(
    sqlite: TestDatabase,
) -> None:
    await upgrade(sqlite.dsn)
    app = PikoApp("trial")
    Pool.openings, Pool.fail_first = [], False
    seen = []

    @app.job("first", resources={"pool": Pool})
    async def first(ctx: Any, scheduled_time: Any, pool: object) -> None:
        seen.append(pool)

    @app.job("second", resources={"pool": Pool})
    async def second(ctx: Any, scheduled_time: Any, pool: object) -> None:
        seen.append(pool)

    for job_id in ("first", "second"):
        await _schedule_once(sqlite, job_id)
    async with app.running(_settings(sqlite)):
        for job_id in ("first", "second"):
            assert (await _outcome(sqlite, job_id))[0] == "SUCCESS"
        assert Pool.openings == ["opened for trial"]
    assert Pool.openings == ["opened for trial", "closed"]
    assert seen[0] is seen[1]


async def test_a_resource_of_the_app_that_failed_to_open_is_tried_again() -> None:
    Pool.openings, Pool.fail_first = [], True
    shared = AppResources(app_name="trial")
    with pytest.raises(ConnectionError, match="not there yet"):
        await shared.value(Pool)
    assert isinstance(await shared.value(Pool), Pool)
    await shared.close()
    assert Pool.openings == ["opened for trial", "opened for trial", "closed"]


async def test_a_run_that_gives_up_waiting_leaves_the_opening_to_the_others() -> None:
    may_open = asyncio.Event()

    @resource(scope="app")
    @asynccontextmanager
    async def slow() -> AsyncIterator[str]:
        await may_open.wait()
        yield "there"

    shared = AppResources(app_name="trial")
    impatient, patient = (asyncio.ensure_future(shared.value(slow)) for _ in range(2))
    await asyncio.wait({impatient, patient}, timeout=0.01)
    impatient.cancel()
    await asyncio.wait({impatient})
    may_open.set()
    assert await patient == "there"
    assert impatient.cancelled()
    await shared.close()


async def test_a_stop_during_the_opening_ends_it() -> None:
    @resource(scope="app")
    @asynccontextmanager
    async def never() -> AsyncIterator[str]:
        await asyncio.Event().wait()
        yield "never"

    shared = AppResources(app_name="trial")
    waiting = asyncio.ensure_future(shared.value(never))
    await asyncio.wait({waiting}, timeout=0.01)
    await shared.close()
    await asyncio.wait({waiting})
    assert waiting.cancelled()


async def test_a_resource_that_hangs_at_its_release_is_given_up_and_the_others_are_closed() -> None:
    closed = []

    @asynccontextmanager
    async def hanging(ctx: Any) -> AsyncIterator[str]:
        yield "hanging"
        await asyncio.Event().wait()

    @asynccontextmanager
    async def prompt(ctx: Any) -> AsyncIterator[str]:
        yield "prompt"
        closed.append("prompt")

    async def run() -> None:
        async with RunResources(shared=AppResources(app_name="trial"), release_s=0.1) as resources:
            acquired = await resources.acquire({"a": prompt, "b": hanging}, None)  # type: ignore[arg-type]
            assert acquired == {"a": "prompt", "b": "hanging"}

    with pytest.raises(ResourceError, match=r"resource 'b' \(.*hanging\) was not released within 0\.1 s"):
        await run()
    assert closed == ["prompt"]
