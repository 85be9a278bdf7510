"""What is told of a run that did not succeed: a message with a bounded traceback, and without secrets.

Handlers put what they hold into their exceptions: a DSN, a header, a whole config. `job_run.error`, the job's
summary, the status of its resource and the logs are read by more people than may know its secrets.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Iterable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus

from pydantic import BaseModel, SecretBytes, SecretStr

from piko.core.types import RunState
from piko.errors import ConfigError
from piko.text import excerpt, traceback_text, type_name, whole_error_text

SHORTEST_SECRET = 4
"""Shorter values are no secrets: each text is full of them."""
_HIDDEN = "***"


def describe(
    state: RunState,
    failure: BaseException | None,
    *,
    reason: str | None,
    timeout_s: float | None,
    secrets: Collection[str] = (),
) -> tuple[str | None, str | None]:
    """The text and the type of the error of a run that ended in `state`; `reason`: why it was cancelled.

    The text's first line says what went wrong, and the traceback follows it.
    """
    text, kind = _tell(state, failure, reason=reason, timeout_s=timeout_s)
    return None if text is None else excerpt(hide(text, secrets)), kind


def standing(task: asyncio.Task[None]) -> str:
    """Where `task` waits just now, in the innermost coroutine that is not asyncio's own; for a message."""
    innermost = "an unknown place"
    coroutine: Any = task.get_coro()
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None)
        if frame is not None and not frame.f_globals.get("__name__", "").startswith("asyncio"):
            innermost = f"{frame.f_code.co_filename}, line {frame.f_lineno}, in {frame.f_code.co_name}"
        coroutine = getattr(coroutine, "cr_await", None)
    return innermost


def secrets_of(*values: object) -> frozenset[str]:
    """The texts in `values` that nobody is to read: each value of a JSON document, each secret of a model."""
    return frozenset(text for value in values for text in _texts(value) if len(text) >= SHORTEST_SECRET)


def model_secrets(value: Any) -> frozenset[str]:
    """The texts in what a model declares as `SecretStr` or `SecretBytes`, at any depth."""
    return secrets_of(*_declared(value))


def hide(text: str, secrets: Collection[str]) -> str:
    """`text` with `***` for each of `secrets`, also as they look within a repr, JSON or a URL."""
    forms = sorted({form for secret in secrets for form in _forms(secret)}, key=len, reverse=True)
    while True:
        hidden = text
        for form in forms:
            hidden = hidden.replace(form, _HIDDEN)
        if hidden == text:
            return text
        text = hidden  # what was left and right of a secret may be one now; the text gets shorter each time


def _tell(
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


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, bytes):
        yield value.decode(errors="backslashreplace")
    elif isinstance(value, str):
        yield value
        if "\n" in value:  # a key in lines: an error may show one of them
            yield from (line for line in value.splitlines() if len(line) >= 2 * SHORTEST_SECRET)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)


def _declared(value: Any) -> Iterator[object]:
    if isinstance(value, SecretStr | SecretBytes):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _declared(getattr(value, name))
    elif isinstance(value, dict):
        for item in value.values():
            yield from _declared(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _declared(item)


def _forms(secret: str) -> Iterable[str]:
    """How a secret looks where it is not written as it is."""
    yield secret
    yield repr(secret)[1:-1]
    yield ascii(secret)[1:-1]
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    encodable = secret.encode(errors="backslashreplace").decode()
    yield from (quote(encodable), quote(encodable, safe=""), quote_plus(encodable))
