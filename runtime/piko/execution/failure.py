"""The error of a run that did not succeed: a message with a bounded traceback, without secrets.

Handlers put values into their exceptions: a DSN, a header, a whole config. `job_run.error`, the job's
summary, the status of its resource and the logs are read by more people than may know its secrets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

from piko.core.types import RunState
from piko.errors import ConfigError
from piko.observability.redaction import hide
from piko.text import excerpt, traceback_text, type_name, whole_error_text


def describe(
    state: RunState,
    failure: BaseException | None,
    *,
    reason: str | None,
    timeout_s: float | None,
    secrets: Collection[str] = (),
) -> tuple[str | None, str | None]:
    """The text and the type of the error of a run that ended in `state`; `reason`: why it was cancelled.

    The first line of the text is the message; the traceback follows.
    """
    text, kind = _message_of(state, failure, reason=reason, timeout_s=timeout_s)
    return None if text is None else excerpt(hide(text, secrets)), kind


def standing(task: asyncio.Task[None]) -> str:
    """Where `task` is waiting now, for a message: in the innermost coroutine that is not asyncio's own."""
    innermost = "an unknown place"
    coroutine: Any = task.get_coro()
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None)
        if frame is not None and not frame.f_globals.get("__name__", "").startswith("asyncio"):
            innermost = f"{frame.f_code.co_filename}, line {frame.f_lineno}, in {frame.f_code.co_name}"
        coroutine = getattr(coroutine, "cr_await", None)
    return innermost


def _message_of(
    state: RunState, failure: BaseException | None, *, reason: str | None, timeout_s: float | None
) -> tuple[str | None, str | None]:
    if state is RunState.SUCCESS:
        return None, None
    if state is RunState.CANCELLED:
        message = reason or "the handler was cancelled"
        if failure is None or isinstance(failure, asyncio.CancelledError):
            return message, "CancelledError"
        return f"{message}\n{traceback_text(failure)}", type_name(failure)
    if state is RunState.TIMEOUT:
        message = f"the handler ran longer than timeout_s = {timeout_s or 0:g}"
        return message + ("" if failure is None else f"\n{traceback_text(failure)}"), "TimeoutError"
    assert failure is not None
    if isinstance(failure, ConfigError):
        return str(failure), "ConfigError"
    return f"{whole_error_text(failure)}\n{traceback_text(failure)}", type_name(failure)
