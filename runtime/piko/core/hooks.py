"""Hooks: functions of an app that are called when a job begins to fail, gets late, or recovers.

A hook is called with one value, which says all that a person wants to read first. What it does with it, a
message to a chat for instance, is its own affair: no run waits for it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from piko.core.declaration import source
from piko.core.types import DataInterval, RunState
from piko.errors import RegistrationError
from piko.text import repr_text

__all__ = ["HookEvent", "JobFailure", "JobLateness", "JobRecovery"]

_PATTERN = re.compile(r"[A-Za-z0-9_.:*?\[\]!-]{1,128}")


class HookEvent(StrEnum):
    """What a hook is called for."""

    FAILURE = "failure"
    LATE = "late"
    RECOVERED = "recovered"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFailure:
    """A job has begun to fail: a run of it has failed for the last time, and the one before it had not.

    - `owner`: the custom resource that owns the job's row; None: SQL does.
    - `run_id`, `state`, `attempt`, `scheduled_time`, `started_at`, `finished_at`, `window`: of that run. Its
      state is FAILED, TIMEOUT or LOST. A run that is no longer kept has no `attempt` and no `window`.
    - `error_type`, `error`: class and text of its error, without secrets, with a bounded traceback.
    - `consecutive_failures`: attempts that have failed since the last success.
    - `key`: differs for each change; a repeated call has the same one.
    """

    job_id: str
    owner: str | None
    run_id: str
    state: RunState
    attempt: int | None
    scheduled_time: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    window: DataInterval | None
    error_type: str | None
    error: str | None
    consecutive_failures: int
    key: str

    @property
    def text(self) -> str:
        """One line for a person: the job, and the first line of the error."""
        said = (self.error or "no error was recorded").partition("\n")[0]
        return f"{self.job_id} fails: {said}"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLateness:
    """A job has become late: it has not kept one of its objectives by its deadline.

    - `owner`: the custom resource that owns the job's row; None: SQL does.
    - `objective`: `data`, `start` or `finish`.
    - `deadline`: by when it had to be kept; the job is late since then.
    - `reason`: what had to happen by then, in one sentence.
    - `watermark`: up to where the data of a stateful job is done.
    - `last_success_at`: when a run last succeeded.
    - `key`: differs for each change; a repeated call has the same one.
    """

    job_id: str
    owner: str | None
    objective: str
    deadline: datetime
    reason: str
    watermark: datetime | None
    last_success_at: datetime | None
    key: str

    @property
    def text(self) -> str:
        """One line for a person: the job, and the reason."""
        return f"{self.job_id} is late: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecovery:
    """A job that was failing has succeeded, or one that was late keeps its objectives again.

    - `owner`: the custom resource that owns the job's row; None: SQL does.
    - `recovered_from`: `failure` or `late`.
    - `since`: from when on it had been failing or late.
    - `watermark`: up to where the data of a stateful job is done.
    - `last_success_at`: when a run last succeeded.
    - `key`: differs for each change; a repeated call has the same one.
    """

    job_id: str
    owner: str | None
    recovered_from: HookEvent
    since: datetime
    watermark: datetime | None
    last_success_at: datetime | None
    key: str

    @property
    def text(self) -> str:
        """One line for a person: the job, and what is over."""
        return f"{self.job_id} {'succeeds' if self.recovered_from is HookEvent.FAILURE else 'is fresh'} again"


HookValue = JobFailure | JobLateness | JobRecovery
HookFunction = Callable[[Any], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """A function that is called for `event` of the jobs whose id matches one of `patterns`; none: of all."""

    event: HookEvent
    function: HookFunction
    patterns: Sequence[str]

    @property
    def name(self) -> str:
        named = getattr(self.function, "__qualname__", type(self.function).__qualname__)
        return f"{getattr(self.function, '__module__', '')}:{named}"

    def concerns(self, job_id: str) -> bool:
        """Whether it is called for that job."""
        return not self.patterns or any(fnmatchcase(job_id, pattern) for pattern in self.patterns)


class Hooks:
    """The hooks of one app, in the order in which they were declared."""

    def __init__(self) -> None:
        self._hooks: list[Hook] = []

    def add(self, event: HookEvent, function: object, patterns: Sequence[object]) -> None:
        """Declare `function`. Raises `RegistrationError` if it could not be called."""
        where = f"app.on_{event} ({source(function)})"
        _check_function(event, function, where)
        for pattern in patterns:
            if not isinstance(pattern, str) or not _PATTERN.fullmatch(pattern):
                raise RegistrationError(
                    f"{where}: {repr_text(pattern)} must be a job id, or a pattern of ids such as 'orders-*'"
                )
        hook: Any = Hook(event=event, function=function, patterns=tuple(map(str, patterns)))  # type: ignore[arg-type]
        self._hooks.append(hook)

    def declare(self, event: HookEvent, given: tuple[Any, ...]) -> Any:
        """What a decorator returns that was given the function, or names of jobs. Raises as `add`."""

        def declared(hook: Any) -> Any:
            self.add(event, hook, patterns)
            return hook

        is_bare = len(given) == 1 and not isinstance(given[0], str)
        patterns = () if is_bare else given
        return declared(given[0]) if is_bare else declared

    def of(self, event: HookEvent, job_id: str) -> list[Hook]:
        """The hooks to call for `event` of that job."""
        return [hook for hook in self._hooks if hook.event is event and hook.concerns(job_id)]

    @property
    def events(self) -> frozenset[HookEvent]:
        """What there are hooks for."""
        return frozenset(hook.event for hook in self._hooks)


def _check_function(event: HookEvent, function: object, where: str) -> None:
    call = getattr(function, "__call__", None)  # noqa: B004 - an object with an async __call__ is a hook
    if inspect.isclass(function) or not (
        inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)
    ):
        raise RegistrationError(
            f"{where}: the hook is not async; write `async def {getattr(function, '__name__', 'hook')}"
            f"({event}): …`, and call blocking code through asyncio.to_thread"
        )
    assert callable(function)
    try:
        inspect.signature(function).bind(None)
    except TypeError as error:
        raise RegistrationError(
            f"{where}: the hook takes {inspect.signature(function)}, but it is called with one value: "
            f"{error}; write `async def {getattr(function, '__name__', 'hook')}({event}): …`"
        ) from None
