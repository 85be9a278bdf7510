"""One run's life: the handler is called with what it asked for, and its end is recorded, whatever it does."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from pydantic import BaseModel
from structlog.testing import capture_logs

from piko.catalog.configs import ConfigBook
from piko.clock import SystemClock
from piko.core.context import JobContext
from piko.core.registry import JobDefinition, JobRegistry
from piko.core.types import RunState, TriggerType
from piko.execution.executor import Executor
from piko.execution.outcome import Ending
from piko.model.fences import InstanceFence
from piko.observability.bindings import current_run
from piko.observability.metrics import Metrics
from piko.persistence.intent import WriteIntent
from tests.harness.waiting import PATIENCE_S, wait_until_async
from tests.scheduler.making import planned
from tests.store.making import make_run, make_window_run, minute, window

FENCE = InstanceFence(instance_id="one", epoch=1)


class Bench:
    """An executor, and what it recorded."""

    def __init__(self, **options: Any) -> None:
        self.endings: asyncio.Queue[Ending] = asyncio.Queue()
        self.metrics = Metrics()
        self.executor = Executor(
            app_name="bench",
            configs=ConfigBook(registry=JobRegistry()),
            clock=SystemClock(),
            metrics=self.metrics,
            ended=self.endings.put_nowait,
            **options,
        )

    def start(
        self,
        handler: Callable[..., Awaitable[object]],
        *,
        resources: dict[str, Any] | None = None,
        schema: type[BaseModel] | None = None,
        run: Any = None,
        timeout_s: float | None = None,
        max_attempts: int = 1,
    ) -> str:
        run = run or make_run()
        definition = JobDefinition(
            job_id=run.job_id, handler=handler, resources=resources or {}, schema=schema, stateful=False
        )
        planning = planned(job_id=run.job_id, timeout_s=timeout_s, max_attempts=max_attempts)
        job = replace(planning, definition=definition)
        self.executor.start(run, job, FENCE)
        return str(run.run_id)

    async def end(self) -> Ending:
        """How the next run ends; nothing of it stays behind."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.endings.get()

    async def end_of(self, handler: Callable[..., Awaitable[object]], **values: Any) -> Ending:
        run_id = self.start(handler, **values)
        ending = await self.end()
        assert run_id not in self.executor
        return ending


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def forever(ctx: JobContext, scheduled_time: object) -> None:
    await asyncio.Event().wait()


class Batch(BaseModel):
    size: int = 10
    name: str = "all"


async def test_a_handler_gets_the_values_that_its_run_overrides_and_one_that_does_not_fit_fails_it(
    bench: Bench,
) -> None:
    seen: list[Any] = []

    async def handler(ctx: JobContext, scheduled_time: object) -> None:
        seen.append(ctx["config"])

    fits = make_run(config_overrides='{"size": 3}')
    assert (await bench.end_of(handler, run=fits, schema=Batch)).state is RunState.SUCCESS
    assert (await bench.end_of(handler, run=fits)).state is RunState.SUCCESS
    assert seen == [Batch(size=3), {"size": 3}]
    ending = await bench.end_of(handler, run=make_run(config_overrides='{"size": "x"}'), schema=Batch)
    assert ending.state is RunState.FAILED
    assert "size = " in str(ending.error)


# ---- ends by itself -------------------------------------------------------------------------------


async def test_a_handler_knows_its_run_and_succeeds(bench: Bench) -> None:
    seen: list[Any] = []

    async def handler(ctx: JobContext, scheduled_time: object) -> str:
        seen.extend([dict(ctx), scheduled_time])
        return "ignored"

    run = make_window_run(3, attempt=2, trigger_type=TriggerType.RETRY)
    ending = await bench.end_of(handler, run=run)
    assert (ending.state, ending.error, ending.error_type) == (RunState.SUCCESS, None, None)
    assert (ending.run, ending.fence, ending.by_shutdown) == (run, FENCE, False)
    assert ending.finished_at >= ending.started_at
    context, scheduled_time = seen
    assert scheduled_time == minute(4)
    assert context == {
        "run_id": run.run_id,
        "job_id": "windows",
        "config": {},
        "scheduled_time": minute(4),
        "attempt": 2,
        "trigger_type": TriggerType.RETRY,
        "data_interval": window(3),
        "config_revision": None,
        "idempotency_key": "windows@2026-01-08T00:04:00+00:00",
    }


async def test_what_a_handler_writes_is_an_intent_of_its_run() -> None:
    taken: list[WriteIntent] = []

    async def enqueue(intent: WriteIntent) -> None:
        taken.append(intent)

    async def handler(ctx: JobContext, scheduled_time: object) -> None:
        await ctx.write("prices", "a", {"cents": 1})

    run = make_run()
    assert (await Bench(enqueue=enqueue).end_of(handler, run=run)).state is RunState.SUCCESS
    assert taken == [
        WriteIntent(
            sink="prices", key="a", payload={"cents": 1}, job_id=run.job_id, run_id=run.run_id,
            scheduled_time=run.scheduled_time,
        )
    ]  # fmt: skip


async def test_what_a_handler_records_is_kept_although_it_fails(bench: Bench) -> None:
    async def handler(ctx: JobContext, scheduled_time: object) -> None:
        ctx.record(rows=3)
        raise ValueError("the fourth")

    ending = await bench.end_of(handler)
    assert (ending.state, ending.result) == (RunState.FAILED, '{"rows": 3}')


async def test_a_failure_is_reported_by_its_message_and_its_traceback(bench: Bench) -> None:
    async def handler(ctx: JobContext, scheduled_time: object) -> None:
        raise ValueError("no such table")

    ending = await bench.end_of(handler)
    assert (ending.state, ending.error_type) == (RunState.FAILED, "ValueError")
    assert ending.error is not None
    first, *rest = ending.error.splitlines()
    assert first == "ValueError: no such table"
    assert rest[0].startswith("Traceback")
    assert __file__ in ending.error


async def test_a_traceback_is_bounded_and_keeps_its_beginning_and_its_end(bench: Bench) -> None:
    async def handler(ctx: JobContext, scheduled_time: object) -> None:
        raise ValueError("begins " + "ж" * 1_000_000 + " ends")

    ending = await bench.end_of(handler)
    assert ending.error is not None
    assert len(ending.error.encode()) < 9_000, "a thousand of them fit into a packet"
    assert ending.error.startswith("ValueError: begins жжж")
    assert ending.error.rstrip().endswith(" ends")
    assert "bytes …" in ending.error


async def test_a_recursion_without_end_is_a_failure_like_any_other(bench: Bench) -> None:
    def deeper(level: int) -> int:
        return deeper(level + 1) + 1

    async def handler(ctx: JobContext, scheduled_time: object) -> None:
        deeper(0)

    ending = await bench.end_of(handler)
    assert (ending.state, ending.error_type) == (RunState.FAILED, "RecursionError")
    assert len(ending.error or "") < 9_000


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("even this fails")


class Unshowable(Exception):
    @property
    def __notes__(self) -> list[str]:  # type: ignore[override]
        raise RuntimeError("its notes fail")


@pytest.mark.parametrize(
    "error",
    [
        Unspeakable(),
        Unshowable(),
        ValueError(),
        ValueError("half a character: \udc80, and none: \0"),
        SystemExit(3),
        KeyboardInterrupt(),
        GeneratorExit(),
        BaseException("of its own kind"),
        BaseExceptionGroup("several", [KeyboardInterrupt(), ValueError()]),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_a_handler_raises_its_end_is_reported_and_can_be_stored(
    error: BaseException, bench: Bench
) -> None:
    async def handler(ctx: JobContext, scheduled_time: object) -> None:
        raise error

    ending = await bench.end_of(handler)
    assert (ending.state, ending.error_type) == (RunState.FAILED, type(error).__name__)
    assert ending.error is not None
    assert ending.error.splitlines()[0]
    assert ending.error.encode()
    assert "\0" not in ending.error


async def test_a_failure_is_logged_as_an_error_with_type_message_and_traceback(bench: Bench) -> None:
    async def handler(ctx: JobContext, scheduled_time: object) -> None:
        dict[str, object]()["customer_id"]

    with capture_logs() as events:
        ending = await bench.end_of(handler, run=make_run(attempt=2))
    (event,) = [event for event in events if event["event"] == "run_finished"]
    assert event["log_level"] == "error"
    assert (event["job_id"], event["run_id"], event["attempt"]) == ("job", ending.run.run_id, 2)
    assert event["error"] == "KeyError: 'customer_id'"
    assert event["exception"].startswith("Traceback")
    assert __file__ in event["exception"]


async def test_a_success_and_a_cancellation_are_no_errors(bench: Bench) -> None:
    async def handler(ctx: JobContext, scheduled_time: object) -> None:
        pass

    with capture_logs() as events:
        await bench.end_of(handler)
        run_id = bench.start(forever)
        await asyncio.sleep(0)
        bench.executor.cancel(run_id, reason="replaced by a newer due time")
        await bench.end()
    assert [event["log_level"] for event in events] == ["info"] * 4


async def test_what_a_handler_logs_carries_its_run(bench: Bench) -> None:
    seen: list[Any] = []

    def note() -> None:
        seen.append(dict(current_run()))

    async def handler(ctx: JobContext, scheduled_time: object) -> None:
        note()
        await asyncio.to_thread(note)
        await asyncio.create_task(asyncio.to_thread(note))

    run = make_run(attempt=3)
    await bench.end_of(handler, run=run)
    assert seen == [{"job_id": "job", "run_id": run.run_id, "attempt": 3}] * 3
    assert not current_run()


async def test_a_cancellation_of_something_the_handler_waits_for_is_its_failure(bench: Bench) -> None:
    async def handler(ctx: JobContext, scheduled_time: object) -> None:
        inner = asyncio.create_task(asyncio.Event().wait())
        inner.cancel()
        await inner

    ending = await bench.end_of(handler)
    assert (ending.state, ending.error_type) == (RunState.FAILED, "CancelledError")


async def test_a_job_that_waits_for_a_config_fails_and_says_so(bench: Bench) -> None:
    class Needy(BaseModel):
        size: int

    ending = await bench.end_of(forever, schema=Needy)
    assert (ending.state, ending.error_type) == (RunState.FAILED, "ConfigError")
    assert "waits for a config" in (ending.error or "")
    assert "Traceback" not in (ending.error or "")


async def test_a_model_that_breaks_is_its_jobs_failure(bench: Bench) -> None:
    class Broken(BaseModel):
        def __init__(self) -> None:
            raise RuntimeError("a model with a mind of its own")

    ending = await bench.end_of(forever, schema=Broken)
    assert ending.state is RunState.FAILED
    assert ending.error


# ---- ends by the clock ----------------------------------------------------------------------------


async def test_a_handler_that_runs_too_long_is_ended_and_the_place_is_reported(bench: Bench) -> None:
    ending = await bench.end_of(forever, timeout_s=0.05)
    assert (ending.state, ending.error_type) == (RunState.TIMEOUT, "TimeoutError")
    assert ending.error is not None
    assert ending.error.splitlines()[0] == "the handler ran longer than timeout_s = 0.05"
    assert "in forever" in ending.error
    assert 0.05 <= ending.duration_s < PATIENCE_S


@pytest.mark.parametrize("timeout_s", [None, 60])
async def test_a_timeout_error_of_the_handlers_own_is_a_failure(
    timeout_s: float | None, bench: Bench
) -> None:
    async def handler(ctx: JobContext, scheduled_time: object) -> None:
        raise TimeoutError

    ending = await bench.end_of(handler, timeout_s=timeout_s)
    assert (ending.state, ending.error_type) == (RunState.FAILED, "TimeoutError")
    assert "ran longer than" not in (ending.error or "")


async def test_a_handler_that_drops_its_timeout_is_out_of_time_all_the_same(bench: Bench) -> None:
    async def handler(ctx: JobContext, scheduled_time: object) -> None:
        with suppress(asyncio.CancelledError):
            await forever(ctx, scheduled_time)

    ending = await bench.end_of(handler, timeout_s=0.05)
    assert (ending.state, ending.error_type) == (RunState.TIMEOUT, "TimeoutError")


async def test_a_handler_that_answers_its_timeout_with_an_error_is_out_of_time(bench: Bench) -> None:
    async def handler(ctx: JobContext, scheduled_time: object) -> None:
        try:
            await forever(ctx, scheduled_time)
        finally:
            raise ConnectionError("cut off")

    ending = await bench.end_of(handler, timeout_s=0.05)
    assert (ending.state, ending.error_type) == (RunState.TIMEOUT, "TimeoutError")
    assert "cut off" in (ending.error or "")


class Stubborn:
    """A handler that goes on whatever is thrown at it, until it is released."""

    def __init__(self) -> None:
        self.released = False
        self.cancellations = 0
        self.ended = asyncio.Event()

    async def __call__(self, ctx: JobContext, scheduled_time: object) -> None:
        # Piko cancels it twice. A third time is the end of a test that has failed, which would hang else.
        while not self.released and self.cancellations < 3:
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                self.cancellations += 1
        self.ended.set()


@pytest.mark.usefixtures("slow")
async def test_a_handler_that_goes_on_after_its_timeout_is_abandoned_and_its_run_has_ended() -> None:
    # Long after its timeout, lest a busy machine be late with both: two cancellations at once are one.
    bench, handler = Bench(abandon_after_s=3.0), Stubborn()
    ending = await bench.end_of(handler, timeout_s=0.05)
    assert (ending.state, ending.error_type) == (RunState.TIMEOUT, "TimeoutError")
    assert "continues although it was cancelled" in (ending.error or "")
    assert "in __call__" in (ending.error or ""), "it says where"
    assert len(bench.executor) == 0, "its place is free"
    assert bench.executor.abandoned == 1
    assert handler.cancellations == 2, "it is asked once more"
    handler.released = True
    await handler.ended.wait()
    await wait_until_async(lambda: bench.executor.abandoned == 0, what="it to be forgotten")
    assert bench.endings.empty(), "its end was recorded before"


async def test_a_cancelled_handler_that_goes_on_is_abandoned() -> None:
    bench, handler = Bench(abandon_after_s=0.1), Stubborn()
    run_id = bench.start(handler)
    await asyncio.sleep(0)
    bench.executor.cancel(run_id, reason="somebody said so")
    ending = await bench.end()
    assert ending.state is RunState.CANCELLED
    assert (ending.error or "").startswith("somebody said so")
    assert "continues although it was cancelled" in (ending.error or "")
    handler.released = True
    await handler.ended.wait()


# ---- ends by others -------------------------------------------------------------------------------


async def test_a_cancelled_run_says_why(bench: Bench) -> None:
    run_id = bench.start(forever)
    await asyncio.sleep(0)
    bench.executor.cancel(run_id, reason="replaced by a newer due time")
    bench.executor.cancel(run_id, reason="too late for this")
    ending = await bench.end()
    assert (ending.state, ending.error_type) == (RunState.CANCELLED, "CancelledError")
    assert ending.error == "replaced by a newer due time"
    bench.executor.cancel(run_id, reason="it is over")


async def test_a_run_that_is_cancelled_before_its_first_step_reports_its_end(bench: Bench) -> None:
    called = False

    async def handler(ctx: JobContext, scheduled_time: object) -> None:
        nonlocal called
        called = True

    run_id = bench.start(handler)
    bench.executor.cancel(run_id, reason="another replica leads now")
    ending = await bench.end()
    assert (ending.state, ending.error) == (RunState.CANCELLED, "another replica leads now")
    assert not called
    assert len(bench.executor) == 0


async def test_a_handler_that_answers_its_cancellation_with_an_error_is_cancelled(bench: Bench) -> None:
    async def handler(ctx: JobContext, scheduled_time: object) -> None:
        try:
            await forever(ctx, scheduled_time)
        finally:
            raise ConnectionError("cut off")

    run_id = bench.start(handler)
    await asyncio.sleep(0)
    bench.executor.cancel(run_id, reason="the replica stopped", by_shutdown=True)
    ending = await bench.end()
    assert (ending.state, ending.error_type, ending.by_shutdown) == (
        RunState.CANCELLED,
        "ConnectionError",
        True,
    )
    assert (ending.error or "").startswith("the replica stopped\n")


async def test_a_handler_that_finishes_in_spite_of_its_cancellation_succeeds(bench: Bench) -> None:
    async def handler(ctx: JobContext, scheduled_time: object) -> None:
        with suppress(asyncio.CancelledError):
            await forever(ctx, scheduled_time)

    run_id = bench.start(handler)
    await asyncio.sleep(0)
    bench.executor.cancel(run_id, reason="the replica stopped", by_shutdown=True)
    assert (await bench.end()).state is RunState.SUCCESS


@pytest.mark.usefixtures("slow")
async def test_draining_gives_what_runs_its_time_and_cancels_what_needs_more(bench: Bench) -> None:
    gate = asyncio.Event()

    async def quick(ctx: JobContext, scheduled_time: object) -> None:
        await gate.wait()

    done, cut = bench.start(quick), bench.start(forever)
    draining = asyncio.create_task(bench.executor.drain(2.0))
    await asyncio.sleep(0)
    assert not draining.done()
    gate.set()
    async with asyncio.timeout(PATIENCE_S):
        await draining
    assert len(bench.executor) == 0
    ends = {ending.run.run_id: ending for ending in [await bench.end(), await bench.end()]}
    assert (ends[done].state, ends[done].by_shutdown) == (RunState.SUCCESS, False)
    assert (ends[cut].state, ends[cut].by_shutdown) == (RunState.CANCELLED, True)
    assert ends[cut].error == "the replica stopped"


async def test_draining_nothing_takes_no_time(bench: Bench) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await bench.executor.drain(3600)


# ---- resources ------------------------------------------------------------------------------------


class Trace:
    """A resource that records what is done with it."""

    def __init__(self) -> None:
        self.recorded: list[str] = []

    def resource(self, name: str, *, acquires: bool = True, releases: bool = True) -> Any:
        trace = self

        class Traced:
            @asynccontextmanager
            async def acquire(self, ctx: JobContext) -> AsyncIterator[str]:
                trace.recorded.append(f"{name} acquired for {ctx.job_id}")
                if not acquires:
                    raise ConnectionError("nobody there")
                try:
                    yield name
                finally:
                    trace.recorded.append(f"{name} released after {sys.exc_info()[0]}")
                    if not releases:
                        raise ConnectionError("not given back")

        return Traced


async def test_resources_are_handed_over_and_released_in_reverse(bench: Bench) -> None:
    trace = Trace()

    async def handler(ctx: JobContext, scheduled_time: object, *, first: str, second: str) -> None:
        trace.recorded.append(f"called with {first} and {second}")

    resources = {"first": trace.resource("a"), "second": trace.resource("b")}
    assert (await bench.end_of(handler, resources=resources)).state is RunState.SUCCESS
    assert trace.recorded == [
        "a acquired for job",
        "b acquired for job",
        "called with a and b",
        "b released after None",
        "a released after None",
    ]


@pytest.mark.parametrize(
    ("error", "state"),
    [(ValueError("no"), RunState.FAILED), (None, RunState.TIMEOUT)],
    ids=["fails", "times out"],
)
async def test_resources_are_released_after_a_handler_that(
    error: Exception | None, state: RunState, bench: Bench
) -> None:
    trace = Trace()

    async def handler(ctx: JobContext, scheduled_time: object, *, thing: str) -> None:
        if error is not None:
            raise error
        await forever(ctx, scheduled_time)

    ending = await bench.end_of(handler, resources={"thing": trace.resource("it")}, timeout_s=0.1)
    assert ending.state is state
    assert len(trace.recorded) == 2
    assert trace.recorded[1].startswith("it released after <class")


async def test_a_resource_that_cannot_be_acquired_is_a_failure_and_the_others_are_released(
    bench: Bench,
) -> None:
    trace = Trace()

    async def handler(ctx: JobContext, scheduled_time: object, **resources: str) -> None:
        trace.recorded.append("called")

    resources = {"first": trace.resource("a"), "second": trace.resource("b", acquires=False)}
    ending = await bench.end_of(handler, resources=resources)
    assert (ending.state, ending.error_type) == (RunState.FAILED, "ResourceError")
    assert "called" not in trace.recorded
    assert trace.recorded[-1].startswith("a released")


async def test_a_resource_that_cannot_be_released_is_a_failure(bench: Bench) -> None:
    async def handler(ctx: JobContext, scheduled_time: object, *, thing: str) -> None:
        pass

    ending = await bench.end_of(handler, resources={"thing": Trace().resource("it", releases=False)})
    assert (ending.state, ending.error_type) == (RunState.FAILED, "ResourceError")


async def test_many_runs_go_on_side_by_side(bench: Bench) -> None:
    for _ in range(200):
        bench.start(forever)
    await wait_until_async(lambda: len(bench.executor) == 200, what="all to run")
    await bench.executor.drain(0)
    assert [bench.endings.get_nowait().by_shutdown for _ in range(200)] == [True] * 200
