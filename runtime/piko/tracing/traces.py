"""How a replica describes its work in spans, and the traces of a program that wants none.

Which of the two it is, `traces_in_use` decides once, when a replica starts; what works has no other way.
Spans are around work, never around waiting: between the claim of a run and its handler there is none.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from piko.model.runs import Run

_SET_UP_BY = "opentelemetry.trace"


class RunTrace(Protocol):
    """The span of one run that has begun."""

    @property
    def traceparent(self) -> str | None:
        """What the next attempt of the run continues; None: no trace."""
        ...

    @property
    def trace_id(self) -> str | None:
        """What the log lines of the run carry."""
        ...

    @property
    def kept_as(self) -> str | None:
        """The trace id where the trace is recorded, so that an exemplar may lead to it."""
        ...

    def end(self, *, state: str, error_type: str | None, failed: bool) -> None:
        """The run has ended; `error_type` names the class of what its handler raised."""
        ...


class Traces(Protocol):
    """Makes spans of work. None of its methods raises, and none waits."""

    def claiming(self, runs: Sequence[Run]) -> AbstractContextManager[Sequence[Run]]:
        """Around the claim of `runs`; yields them as they are to be written, each with its trace."""
        ...

    def begin_run(self, run: Run) -> RunTrace:
        """A handler is called now, in the task of the caller, whose context is the run's from now on."""
        ...

    def recording(self, runs: Iterable[Run]) -> AbstractContextManager[None]:
        """Around the transaction that writes the outcomes of `runs`."""
        ...

    def delivering(self, sink: str, run_ids: Sequence[str]) -> AbstractContextManager[Delivered]:
        """Around one write of `sink`; `run_ids` has the run of each record."""
        ...

    def computing(self, function: str, items: int) -> AbstractContextManager[str | None]:
        """Around a chunk in a worker process; yields the traceparent that it takes along."""
        ...

    def leave_run(self) -> None:
        """What goes on in this context outlives the run that has begun it, and belongs to no trace."""
        ...

    def current(self) -> str | None:
        """The traceparent of what goes on in this context; None: no trace."""
        ...


class Delivered(Protocol):
    """The span of one write of a sink."""

    def failed(self, error_type: str) -> None:
        """The sink has not accepted the batch."""
        ...


class _NoSpan:
    traceparent = trace_id = kept_as = None

    def end(self, *, state: str, error_type: str | None, failed: bool) -> None:
        pass

    def failed(self, error_type: str) -> None:
        pass


NO_SPAN = _NoSpan()
_NOTHING: AbstractContextManager[None] = nullcontext()
_NO_DELIVERY: AbstractContextManager[Delivered] = nullcontext(NO_SPAN)


class NoTraces:
    """The traces of a program that has set up none."""

    def claiming(self, runs: Sequence[Run]) -> AbstractContextManager[Sequence[Run]]:
        return nullcontext(runs)

    def begin_run(self, run: Run) -> RunTrace:  # noqa: ARG002 - as the protocol has it
        return NO_SPAN

    def recording(self, runs: Iterable[Run]) -> AbstractContextManager[None]:  # noqa: ARG002
        return _NOTHING

    def delivering(self, sink: str, run_ids: Sequence[str]) -> AbstractContextManager[Delivered]:  # noqa: ARG002
        return _NO_DELIVERY

    def computing(self, function: str, items: int) -> AbstractContextManager[str | None]:  # noqa: ARG002
        return _NOTHING

    def leave_run(self) -> None:
        pass

    def current(self) -> str | None:
        return None


NO_TRACES: Traces = NoTraces()


def traces_in_use() -> Traces:
    """The traces of this program: by OpenTelemetry if it has set up a tracer provider, otherwise none.

    Setting one up takes an import, so a program that has not imported OpenTelemetry is asked no further.
    """
    if _SET_UP_BY not in sys.modules:
        return NO_TRACES
    from piko.tracing.spans import spans_in_use

    return spans_in_use() or NO_TRACES


def continued(traceparent: str | None) -> AbstractContextManager[None]:
    """Within this block the trace of `traceparent` goes on, in a worker process; None: there is none."""
    if traceparent is None:
        return _NOTHING
    try:
        from piko.tracing.spans import within
    except ImportError:  # a machine of a Dask cluster need not have the extra
        return _NOTHING
    return within(traceparent)
