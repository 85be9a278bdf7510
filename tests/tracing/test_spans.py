"""Spans in process: of claims, runs, outcomes, writes of sinks and chunks, and how they hang together."""

from __future__ import annotations

import asyncio
import functools
import io
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode, TraceFlags
from prometheus_client.openmetrics.exposition import generate_latest
from structlog.testing import capture_logs

from piko.compute.cpu import CpuManager
from piko.core.context import JobContext
from piko.core.resource import resource
from piko.core.types import RunState
from piko.execution.outcome import Ending, conclude
from piko.observability.logs import configure_logging, get_logger
from piko.observability.metrics import Metrics
from piko.persistence.intent import WriteIntent
from piko.tracing.spans import Spans
from piko.tracing.traces import NO_TRACES, traces_in_use
from tests.execution.test_executor import Bench
from tests.harness.logging_state import restored
from tests.harness.waiting import wait_until_async
from tests.persistence.writing import AT, Remembering, running
from tests.store.making import fresh_id, make_run, make_window_run

ASKED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
SECRET = "s3cret-value"


class Traced:
    """Traces into memory."""

    def __init__(self, **options: Any) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = provider = TracerProvider(**options)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = provider.get_tracer("test")
        self.traces = Spans(self.tracer)

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        """The spans that have ended, by name."""
        return {span.name: span for span in self._exporter.get_finished_spans()}


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


def trace_of(span: ReadableSpan) -> str:
    assert span.context is not None
    return trace.format_trace_id(span.context.trace_id)


def parent_of(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


@pytest.fixture
def traced() -> Traced:
    return Traced()


async def quiet(ctx: JobContext, scheduled_time: object) -> None:
    pass


# ---- claims and runs ------------------------------------------------------------------------------


def test_a_program_that_has_set_up_no_provider_has_no_traces() -> None:
    assert traces_in_use() is NO_TRACES


async def test_a_run_is_a_child_of_its_claim_and_says_which_run_it_is(traced: Traced) -> None:
    bench = Bench(traces=traced.traces)
    with traced.traces.claiming([make_window_run(3, job_id="job", backfill_id="b-1")]) as (run,):
        pass
    await bench.end_of(quiet, run=run)
    claim, ran = traced.spans["claim job"], traced.spans["run job"]
    assert (parent_of(claim), parent_of(ran)) == (None, id_of(claim))
    assert (claim.kind, ran.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    assert run.window is not None
    assert ran.attributes == {
        "piko.job.id": "job",
        "piko.run.id": run.run_id,
        "piko.run.attempt": 1,
        "piko.run.trigger": "schedule",
        "piko.run.scheduled_time": run.scheduled_time.isoformat(),
        "piko.run.window.start": run.window.start.isoformat(),
        "piko.run.window.end": run.window.end.isoformat(),
        "piko.backfill.id": "b-1",
        "piko.run.state": "SUCCESS",
    }
    assert ran.status.status_code is StatusCode.UNSET


async def test_no_span_is_over_the_time_that_a_run_waits(traced: Traced) -> None:
    with traced.traces.claiming([make_run(1, job_id="job")]) as (run,):
        pass
    let_go = time.time_ns()
    await Bench(traces=traced.traces).end_of(quiet, run=run)
    claim, ran = traced.spans["claim job"], traced.spans["run job"]
    assert len(traced.spans) == 2
    assert claim.end_time is not None
    assert ran.start_time is not None
    assert claim.end_time <= let_go <= ran.start_time


async def test_runs_that_are_claimed_together_have_a_trace_each(traced: Traced) -> None:
    with traced.traces.claiming([make_run(1, job_id="a"), make_run(1, job_id="b")]) as runs:
        pass
    ids = {str(run.traceparent).split("-")[1] for run in runs}
    assert ids == {trace_of(span) for span in traced.spans.values()}
    assert len(ids) == 2


async def test_what_was_asked_for_within_a_trace_belongs_to_it(traced: Traced) -> None:
    with traced.traces.claiming([make_run(traceparent=ASKED)]) as (run,):
        pass
    await Bench(traces=traced.traces).end_of(quiet, run=run)
    assert {trace_of(span) for span in traced.spans.values()} == {ASKED.split("-")[1]}
    assert parent_of(traced.spans["claim job"]) == int(ASKED.split("-")[2], 16)


async def test_the_next_attempt_is_a_child_of_the_one_that_failed(traced: Traced) -> None:
    bench = Bench(traces=traced.traces)

    async def handler(ctx: JobContext, scheduled_time: object) -> None:
        raise ValueError(SECRET)

    ending = await bench.end_of(handler, run=make_run(traceparent=ASKED), max_attempts=2)
    failed = traced.spans["run job"]
    retry = conclude(ending, new_id=fresh_id).retry
    assert retry is not None
    await bench.end_of(quiet, run=retry)
    again = traced.spans["run job"]
    assert parent_of(again) == id_of(failed)
    assert trace_of(again) == trace_of(failed) == ASKED.split("-")[1]
    assert again.attributes is not None
    assert again.attributes["piko.run.attempt"] == 2


async def test_a_failure_is_named_by_its_type_and_its_message_stays_in_the_log(traced: Traced) -> None:
    async def handler(ctx: JobContext, scheduled_time: object) -> None:
        raise ValueError(SECRET)

    await Bench(traces=traced.traces).end_of(handler)
    span = traced.spans["run job"]
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes is not None
    assert span.attributes["error.type"] == "ValueError"
    assert SECRET not in span.to_json()


async def test_a_claim_that_fails_says_so_and_its_error_goes_on(traced: Traced) -> None:
    with pytest.raises(OSError, match="away"), traced.traces.claiming([make_run()]):
        raise OSError("away")
    span = traced.spans["claim job"]
    assert (span.status.status_code, span.attributes and span.attributes["error.type"]) == (
        StatusCode.ERROR,
        "OSError",
    )


class Broken(SpanProcessor):
    """Fails wherever it is called."""

    def on_start(self, span: object, parent_context: object = None) -> None:
        raise RuntimeError("broken processor")


async def test_a_provider_that_fails_costs_spans_and_no_run_and_is_complained_of_once() -> None:
    traced = Traced()
    traced.provider.add_span_processor(Broken())
    bench = Bench(traces=traced.traces)
    with capture_logs() as lines:
        with traced.traces.claiming([make_run(traceparent=ASKED), make_run(1)]) as runs:
            pass
        endings = [await bench.end_of(quiet, run=run) for run in runs]
        with traced.traces.recording(runs):
            pass
    assert [run.traceparent for run in runs] == [ASKED, None]
    assert {ending.state for ending in endings} == {RunState.SUCCESS}
    assert [line["error"] for line in lines if line["event"] == "traces_fail"] == [
        "RuntimeError: broken processor"
    ]


# ---- what a handler does --------------------------------------------------------------------------


async def test_spans_of_a_handler_and_of_its_threads_are_children_of_the_run(traced: Traced) -> None:
    def read() -> None:
        traced.tracer.start_span("in a thread").end()

    async def handler(ctx: JobContext, scheduled_time: object) -> None:
        traced.tracer.start_span("in the handler").end()
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.to_thread(read))

    await Bench(traces=traced.traces).end_of(handler)
    spans = traced.spans
    assert {parent_of(spans[name]) for name in ("in the handler", "in a thread")} == {id_of(spans["run job"])}
    assert not trace.get_current_span().get_span_context().is_valid, "nothing of a run stays behind"


async def test_a_resource_that_outlives_its_run_belongs_to_no_trace(traced: Traced) -> None:
    @resource(scope="app")
    @asynccontextmanager
    async def shared(ctx: object) -> AsyncIterator[str]:
        traced.tracer.start_span("open").end()
        yield "shared"

    async def handler(ctx: JobContext, scheduled_time: object, shared: str) -> None:
        pass

    bench = Bench(traces=traced.traces)
    await bench.end_of(handler, resources={"shared": shared})
    await bench.executor.close()
    assert traced.spans["open"].parent is None


async def test_lines_of_a_run_and_exemplars_carry_its_trace(traced: Traced) -> None:
    out = io.StringIO()

    async def handler(ctx: JobContext, scheduled_time: object) -> None:
        ctx.log.info("working")
        await asyncio.to_thread(get_logger("library").info, "in_a_thread")

    with restored():
        configure_logging(log_format="json", stream=out)
        bench = Bench(traces=traced.traces)
        await bench.end_of(handler)
        await asyncio.sleep(0)
    trace_id = trace_of(traced.spans["run job"])
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    events = {line["event"]: line.get("trace_id") for line in lines}
    assert events == dict.fromkeys(("run_started", "working", "in_a_thread", "run_finished"), trace_id)
    exposed = generate_latest(bench.metrics.registry).decode().splitlines()
    exemplars = [line for line in exposed if f'trace_id="{trace_id}"' in line]
    names = {line.partition("{")[0] for line in exemplars}
    assert names == {"piko_job_duration_seconds_bucket", "piko_job_start_delay_seconds_bucket"}


async def test_a_trace_that_is_not_recorded_is_no_exemplar_and_goes_on_unrecorded() -> None:
    traced = Traced(sampler=ALWAYS_OFF)
    bench = Bench(traces=traced.traces)
    with traced.traces.claiming([make_run()]) as (run,):
        pass
    await bench.end_of(quiet, run=run)
    assert traced.spans == {}
    assert run.traceparent is not None
    assert int(run.traceparent.split("-")[3], 16) & TraceFlags.SAMPLED == 0
    assert "trace_id" not in generate_latest(bench.metrics.registry).decode()


async def test_a_run_without_traces_keeps_what_it_was_asked_for_with(bench: Bench) -> None:
    ending = await bench.end_of(quiet, run=make_run(traceparent=ASKED))
    assert ending.run.traceparent == ASKED


@pytest.fixture
def bench() -> Bench:
    return Bench()


# ---- batches --------------------------------------------------------------------------------------


async def test_a_write_of_a_sink_is_linked_to_each_run_of_its_records(traced: Traced, tmp_path: Path) -> None:
    bench = Bench(traces=traced.traces)
    endings = [await bench.end_of(quiet, run=make_run(number)) for number in range(2)]
    sink = Remembering(name="warehouse", linger_s=0.05)
    async with running(sink, folder=tmp_path, traces=traced.traces) as (writer, _):
        await writer.enqueue_many(_intents(endings))
    span = traced.spans["write warehouse"]
    assert span.attributes == {"piko.sink.name": "warehouse", "piko.sink.records": 6}
    assert [link.attributes for link in span.links] == [
        {"piko.run.id": ending.run.run_id} for ending in endings
    ]
    assert SECRET not in span.to_json()


async def test_a_write_that_a_sink_does_not_take_is_an_error_span(traced: Traced, tmp_path: Path) -> None:
    sink = Remembering(name="warehouse")
    sink.down = True
    async with running(sink, folder=tmp_path, traces=traced.traces) as (writer, _):
        await writer.enqueue_many(_intents([await Bench().end_of(quiet)]))
        await wait_until_async(lambda: traced.spans, what="a write")
        span = traced.spans["write warehouse"]
        sink.down = False
    assert (span.status.status_code, span.attributes and span.attributes["error.type"]) == (
        StatusCode.ERROR,
        "ConnectionError",
    )


async def test_a_transaction_of_outcomes_is_linked_to_its_runs_as_far_as_links_go(traced: Traced) -> None:
    bench = Bench(traces=traced.traces)
    runs = [(await bench.end_of(quiet, run=make_run(number))).run for number in range(130)]
    with traced.traces.recording(iter(runs)):
        pass
    span = traced.spans["record outcomes"]
    assert span.attributes == {"piko.runs": 130}
    assert len(span.links) == 128


def _intents(endings: list[Ending]) -> list[WriteIntent]:
    return [
        WriteIntent(
            sink="warehouse",
            key=str(number),
            payload=SECRET,
            job_id="job",
            run_id=ending.run.run_id,
            scheduled_time=AT,
        )
        for ending in endings
        for number in range(3)
    ]


# ---- the CPU pool ---------------------------------------------------------------------------------


def in_worker(base: int, item: int) -> str:
    """The span that a library would make a child of, in the process where the item is computed."""
    from piko.tracing.spans import Spans

    return str(Spans(trace.get_tracer("library")).current())


async def test_a_chunk_has_a_span_and_what_its_function_traces_is_a_child_of_it(traced: Traced) -> None:
    manager = CpuManager(metrics=Metrics(), traces=lambda: traced.traces)
    manager.use_processes(workers=1)
    found: list[str] = []

    async def handler(ctx: JobContext, scheduled_time: object) -> None:
        called = functools.partial(in_worker, len(SECRET))
        found.extend(await manager.map_reduce(called, [1, 2], chunk_size=2))
        found.append(await manager.submit(in_worker, 1, 1))

    try:
        await Bench(traces=traced.traces).end_of(handler)
    finally:
        await manager.stop()
    spans = traced.spans
    assert found != []
    mapped, submitted = spans["compute functools.partial"], spans[f"compute {__name__}.in_worker"]
    assert mapped.attributes == {"code.function.name": "functools.partial", "piko.cpu.items": 2}
    ids = [trace.format_span_id(id_of(span)) for span in (mapped, mapped, submitted)]
    assert [traceparent.split("-")[2] for traceparent in found] == ids
    assert {parent_of(mapped), parent_of(submitted)} == {id_of(spans["run job"])}
