"""The run that log lines carry, for everything that its handler calls.

The binding follows the context: into tasks that a handler starts, into `asyncio.to_thread`, and with a chunk
into the processes of the CPU pool.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from contextlib import AbstractContextManager, suppress
from contextvars import Context, ContextVar, Token, copy_context
from types import MappingProxyType, TracebackType
from typing import Any

RUN = ("job_id", "run_id", "attempt")

_NO_RUN: Mapping[str, object] = MappingProxyType({})
_run: ContextVar[Mapping[str, object]] = ContextVar("piko_run", default=_NO_RUN)


def of_run(*, job_id: str, run_id: str, attempt: int) -> AbstractContextManager[None]:
    """Within this block, everything logged in this context carries the three values."""
    return bound({"job_id": job_id, "run_id": run_id, "attempt": attempt})


def bound(run: Mapping[str, object]) -> AbstractContextManager[None]:
    """As `of_run`, with what `current_run` has answered in another context or process."""
    return _Binding(run)


class _Binding(AbstractContextManager[None]):
    __slots__ = ("_before", "_run")

    def __init__(self, run: Mapping[str, object]) -> None:
        self._run = run
        self._before: Token[Mapping[str, object]] | None = None

    def __enter__(self) -> None:
        self._before = _run.set(self._run)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            with suppress(ValueError):  # the garbage collector may end an abandoned run in any context
                _run.reset(self._before)


def current_run() -> Mapping[str, object]:
    """What `of_run` has bound in this context; empty outside a run."""
    return _run.get()


def merge_run(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor of structlog: the event with the values of the run that it belongs to."""
    run = _run.get()
    return {**run, **event} if run else event


def of_no_run() -> Context:
    """A copy of this context without its run, for tasks that outlive the run."""
    context = copy_context()
    context.run(_run.set, _NO_RUN)
    return context
