"""The run that log lines carry, for everything that its handler calls.

The binding follows the context: into tasks that a handler starts, into `asyncio.to_thread`, and with a chunk
into the processes of the CPU pool.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from contextlib import AbstractContextManager, suppress
from contextvars import Context, ContextVar, Token, copy_context
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from piko.observability.run_log import RunLog

RUN = ("job_id", "run_id", "attempt", "trace_id")

_Bound = tuple[Mapping[str, object], "RunLog | None"]
"""What the lines of a run carry, and where they are kept."""
_NO_RUN: _Bound = (MappingProxyType({}), None)
_run: ContextVar[_Bound] = ContextVar("piko_run", default=_NO_RUN)


def of_run(
    *, job_id: str, run_id: str, attempt: int, trace_id: str | None = None, log: RunLog | None = None
) -> AbstractContextManager[None]:
    """Within this block, everything logged in this context carries these values.

    `trace_id` names the trace that the run belongs to; None: none. `log` gets each line; None: nobody keeps
    them.
    """
    run: dict[str, object] = {"job_id": job_id, "run_id": run_id, "attempt": attempt}
    if trace_id is not None:
        run["trace_id"] = trace_id
    return bound(run, log)


def bound(run: Mapping[str, object], log: RunLog | None = None) -> AbstractContextManager[None]:
    """As `of_run`, with what `current_run` has answered in another context or process."""
    return _Binding((run, log))


class _Binding(AbstractContextManager[None]):
    __slots__ = ("_before", "_run")

    def __init__(self, run: _Bound) -> None:
        self._run = run
        self._before: Token[_Bound] | None = None

    def __enter__(self) -> None:
        self._before = _run.set(self._run)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            with suppress(ValueError):  # the garbage collector may end an abandoned run in any context
                _run.reset(self._before)


def current_log() -> RunLog | None:
    """The log that the lines of this context go to as well; None outside a run."""
    return _run.get()[1]


def current_run() -> Mapping[str, object]:
    """What `of_run` has bound in this context; empty outside a run. It can travel to another process."""
    return dict(_run.get()[0])


def merge_run(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor of structlog: the event with the values of the run that it belongs to."""
    run = _run.get()[0]
    return {**run, **event} if run else event


def of_no_run() -> Context:
    """A copy of this context without its run, for tasks that outlive the run."""
    context = copy_context()
    context.run(_run.set, _NO_RUN)
    return context
