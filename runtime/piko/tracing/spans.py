"""Spans by the API of OpenTelemetry: the one module that imports it.

A run belongs to a trace from its claim on: the span of the claim is written with the run as its traceparent.
Wherever the handler is called, at once, later, or on another replica after a crash, the span of the run is a
child of it. The next attempt is a child of the attempt that failed.

Attributes name things and count them. What a job reads or writes, its config and the messages of its errors
are never among them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version

from opentelemetry import context as current_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    NoOpTracerProvider,
    ProxyTracerProvider,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
)

from piko.clock import SystemClock
from piko.model.runs import Run
from piko.model.traceparents import traceparent_of
from piko.observability.logs import get_logger
from piko.serving.seldom import Seldom
from piko.text import error_text
from piko.tracing.traces import Delivered, RunTrace, Traces

_LINKS = 128
"""Links of one span: as many as the SDK keeps by default."""
_RECENT = 10_000
"""Runs whose spans a span of a batch can be linked to."""

Value = str | int

log = get_logger(__name__)


def spans_in_use() -> Traces | None:
    """Spans by the tracer provider that this program has set up; None: it has set up none."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, ProxyTracerProvider | NoOpTracerProvider):
        return None
    return Spans(trace.get_tracer("piko", version("piko")))


@contextmanager
def within(traceparent: str) -> Iterator[None]:
    """As `continued`."""
    token = current_context.attach(_context_of(traceparent))
    try:
        yield
    finally:
        current_context.detach(token)


class Spans:
    """`Traces` by a tracer of OpenTelemetry.

    What a program has set up may raise: a sampler, or a processor of spans. That costs a span, and no run.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._recent: OrderedDict[str, SpanContext] = OrderedDict()
        self._seldom = Seldom(clock=SystemClock())

    @contextmanager
    def claiming(self, runs: Sequence[Run]) -> Iterator[Sequence[Run]]:
        spans = [self._of_run("claim", run, SpanKind.PRODUCER) for run in runs]
        failure: str | None = None
        try:
            yield [
                replace(run, traceparent=_traceparent(span) or run.traceparent)
                for run, span in zip(runs, spans, strict=True)
            ]
        except BaseException as error:
            failure = _type_name(error)
            raise
        finally:
            for span in spans:
                if failure is not None:
                    _fail(span, failure)
                self._end(span)

    def begin_run(self, run: Run) -> RunTrace:
        span = self._of_run("run", run, SpanKind.CONSUMER)
        self._recent[run.run_id] = span.get_span_context()
        if len(self._recent) > _RECENT:
            self._recent.popitem(last=False)
        # The task ends with the run, and its context with the task: nothing has to be detached.
        current_context.attach(trace.set_span_in_context(span))
        return _RunSpan(span, end=self._end)

    @contextmanager
    def recording(self, runs: Iterable[Run]) -> Iterator[None]:
        ids = [run.run_id for run in runs]
        with self._around("record outcomes", {"piko.runs": len(ids)}, Context(), links=self._links(ids)):
            yield

    @contextmanager
    def delivering(self, sink: str, run_ids: Sequence[str]) -> Iterator[Delivered]:
        attributes: dict[str, Value] = {"piko.sink.name": sink, "piko.sink.records": len(run_ids)}
        with self._around(f"write {sink}", attributes, Context(), links=self._links(run_ids)) as span:
            yield _DeliverySpan(span)

    @contextmanager
    def computing(self, function: str, items: int) -> Iterator[str | None]:
        attributes: dict[str, Value] = {"code.function.name": function, "piko.cpu.items": items}
        with self._around(f"compute {function}", attributes, current_context.get_current()):
            yield self.current()

    def leave_run(self) -> None:
        current_context.attach(Context())

    def current(self) -> str | None:
        return _traceparent(trace.get_current_span())

    def _of_run(self, what: str, run: Run, kind: SpanKind) -> Span:
        return self._start(f"{what} {run.job_id}", _attributes(run), _context_of(run.traceparent), kind=kind)

    @contextmanager
    def _around(
        self, name: str, attributes: Mapping[str, Value], parent: Context, *, links: Sequence[Link] = ()
    ) -> Iterator[Span]:
        """A span that fails with what is raised, whose text is not among what it says."""
        span = self._start(name, attributes, parent, links=links)
        try:
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                yield span
        except BaseException as error:
            _fail(span, _type_name(error))
            raise
        finally:
            self._end(span)

    def _start(
        self,
        name: str,
        attributes: Mapping[str, Value],
        parent: Context,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        links: Sequence[Link] = (),
    ) -> Span:
        try:
            return self._tracer.start_span(name, parent, kind, attributes, links)
        except Exception as error:  # noqa: BLE001 - samplers and processors are the program's own
            self._complain(error)
            return trace.INVALID_SPAN

    def _end(self, span: Span) -> None:
        try:
            span.end()
        except Exception as error:  # noqa: BLE001 - as above
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        if (times := self._seldom.due("traces")) is not None:
            remedy = "repair the tracer provider that the app sets up"
            log.error("traces_fail", error=error_text(error), times=times, remedy=remedy)

    def _links(self, run_ids: Iterable[str]) -> list[Link]:
        """Links to the spans of the runs, as far as they are known here."""
        links: list[Link] = []
        for run_id in dict.fromkeys(run_ids):
            if len(links) == _LINKS:
                break
            if (of_run := self._recent.get(run_id)) is not None:
                links.append(Link(of_run, {"piko.run.id": run_id}))
        return links


class _RunSpan:
    """The span of a run."""

    def __init__(self, span: Span, *, end: Callable[[Span], None]) -> None:
        self._span = span
        self._end = end
        context = span.get_span_context()
        self.traceparent = _traceparent(span)
        self.trace_id = trace.format_trace_id(context.trace_id) if context.is_valid else None
        self.kept_as = self.trace_id if context.trace_flags.sampled else None

    def end(self, *, state: str, error_type: str | None, failed: bool) -> None:
        self._span.set_attribute("piko.run.state", state)
        if failed:
            _fail(self._span, error_type or state)
        self._end(self._span)


class _DeliverySpan:
    """The span of one write of a sink."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def failed(self, error_type: str) -> None:
        _fail(self._span, error_type)


def _attributes(run: Run) -> dict[str, Value]:
    attributes: dict[str, Value] = {
        "piko.job.id": run.job_id,
        "piko.run.id": run.run_id,
        "piko.run.attempt": run.attempt,
        "piko.run.trigger": run.trigger_type.value,
        "piko.run.scheduled_time": run.scheduled_time.isoformat(),
    }
    if run.window is not None:
        attributes["piko.run.window.start"] = run.window.start.isoformat()
        attributes["piko.run.window.end"] = run.window.end.isoformat()
    if run.backfill_id is not None:
        attributes["piko.backfill.id"] = run.backfill_id
    return attributes


def _fail(span: Span, error_type: str) -> None:
    span.set_attribute("error.type", error_type)
    span.set_status(Status(StatusCode.ERROR))


def _type_name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _context_of(traceparent: str | None) -> Context:
    """The context of what `traceparent` names; None, or what is none: that of a new trace."""
    known = traceparent_of(traceparent)
    if known is None:
        return Context()
    _, trace_id, span_id, flags = known.split("-")
    parent = SpanContext(
        trace_id=int(trace_id, 16),
        span_id=int(span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(flags, 16)),
    )
    return trace.set_span_in_context(NonRecordingSpan(parent), Context())


def _traceparent(span: Span) -> str | None:
    context = span.get_span_context()
    if not context.is_valid:
        return None
    ids = f"{trace.format_trace_id(context.trace_id)}-{trace.format_span_id(context.span_id)}"
    return f"00-{ids}-{context.trace_flags:02x}"
