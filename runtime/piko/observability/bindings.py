"""The run that log lines carry, for everything that its handler calls.

The binding follows the context: into tasks that a handler starts, into `asyncio.to_thread`, and with a chunk
into the processes of the CPU pool.
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
    """Within this block, everything logged in this context carries the three values."""
    # Not `bound_contextvars`, which copies the whole context twice; a busy replica does this often.
    before = bind_contextvars(job_id=job_id, run_id=run_id, attempt=attempt)
    try:
        yield
    finally:
        with suppress(ValueError):  # the garbage collector may end an abandoned run in any context
            reset_contextvars(**before)


def current_run() -> Mapping[str, object]:
    """What `of_run` has bound in this context; empty outside a run."""
    bound = get_contextvars()
    return {name: bound[name] for name in RUN if name in bound}


def of_no_run() -> Context:
    """A copy of this context without its run, for tasks that outlive the run."""
    context = copy_context()
    context.run(unbind_contextvars, *RUN)
    return context
