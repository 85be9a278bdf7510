"""In whose name a line of a log is written: the run's, for everything that its handler calls.

The binding travels with the context: into tasks that a handler starts, into `asyncio.to_thread`, and with a
chunk into the processes of the CPU pool.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import Context, copy_context

from structlog.contextvars import (
    bind_contextvars,
    get_contextvars,
    reset_contextvars,
    unbind_contextvars,
)

RUN = ("job_id", "run_id", "attempt")


@contextmanager
def of_run(*, job_id: str, run_id: str, attempt: int) -> Iterator[None]:
    """While this lasts, what is logged in this context carries these three."""
    # Not `bound_contextvars`: it looks through the whole context twice, and a busy replica does so often.
    before = bind_contextvars(job_id=job_id, run_id=run_id, attempt=attempt)
    try:
        yield
    finally:
        with suppress(ValueError):  # an abandoned run is ended by the collector, in whatever context
            reset_contextvars(**before)


def current_run() -> Mapping[str, object]:
    """What `of_run` has bound here; empty where this is no run."""
    bound = get_contextvars()
    return {name: bound[name] for name in RUN if name in bound}


def of_no_run() -> Context:
    """This context without its run, for what outlives it."""
    context = copy_context()
    context.run(unbind_contextvars, *RUN)
    return context
