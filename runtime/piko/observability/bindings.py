"""In whose name a line of a log is written: the run's, for everything that its handler calls.

The binding travels with the context: into tasks that a handler starts, into `asyncio.to_thread`, and with a
chunk into the processes of the CPU pool.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from contextvars import Context, copy_context

from structlog.contextvars import bound_contextvars, get_contextvars, unbind_contextvars

RUN = ("job_id", "run_id", "attempt")


def of_run(*, job_id: str, run_id: str, attempt: int) -> AbstractContextManager[None]:
    """While this lasts, what is logged in this context carries these three."""
    return bound_contextvars(job_id=job_id, run_id=run_id, attempt=attempt)


def current_run() -> Mapping[str, object]:
    """What `of_run` has bound here; empty where this is no run."""
    bound = get_contextvars()
    return {name: bound[name] for name in RUN if name in bound}


def of_no_run() -> Context:
    """This context without its run, for what outlives it."""
    context = copy_context()
    context.run(unbind_contextvars, *RUN)
    return context
