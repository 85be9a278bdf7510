"""The jobs that code declares: a row can only run what is registered here."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from pydantic import BaseModel

from piko.core.resource import ResourceSource, check_resource
from piko.core.types import BackfillPolicy, Objective
from piko.errors import RegistrationError

Handler = Callable[..., Awaitable[object]]

_LONGEST_HANDLER_NAME = 512
_LONGEST_S = 10**10
_NO_OBJECTIVE = Objective()
JOB_ID_PATTERN = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDefinition:
    """One registered job. `timeout_s`, `max_attempts` and `objective` apply where its row says nothing."""

    job_id: str
    handler: Handler
    schema: type[BaseModel] | None = None
    resources: Mapping[str, ResourceSource]
    stateful: bool = False
    backfill_policy: BackfillPolicy = BackfillPolicy.CATCH_UP
    timeout_s: float | None = None
    max_attempts: int = 1
    objective: Objective = _NO_OBJECTIVE

    @property
    def handler_name(self) -> str:
        name = getattr(self.handler, "__qualname__", type(self.handler).__qualname__)
        return f"{self.handler.__module__}:{name}"


class JobRegistry:
    """The jobs of one app, by id."""

    def __init__(self) -> None:
        self._jobs: dict[str, JobDefinition] = {}

    def register(self, job: JobDefinition) -> None:
        """Add `job`. Raises `RegistrationError` if it could not run."""
        where = f"job {job.job_id!r} ({_source(job.handler)})"
        _check(job, where)
        earlier = self._jobs.get(job.job_id)
        if earlier is not None:
            raise RegistrationError(
                f"{where}: the id is already taken by {_source(earlier.handler)}; give one of the two "
                "another job_id"
            )
        self._jobs[job.job_id] = job

    def get(self, job_id: str) -> JobDefinition | None:
        return self._jobs.get(job_id)

    def __iter__(self) -> Iterator[JobDefinition]:
        return iter(self._jobs.values())

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._jobs


def _check(job: JobDefinition, where: str) -> None:
    if not isinstance(job.job_id, str) or not JOB_ID_PATTERN.fullmatch(job.job_id):
        raise RegistrationError(f"{where}: job_id must be 1 to 128 characters of A-Z a-z 0-9 _ . : -")
    call = getattr(job.handler, "__call__", None)  # noqa: B004 - an object with an async __call__ is a handler
    is_async = inspect.iscoroutinefunction(job.handler) or inspect.iscoroutinefunction(call)
    if inspect.isclass(job.handler) or not is_async:
        raise RegistrationError(
            f"{where}: the handler is not async; write "
            f"`async def {getattr(job.handler, '__name__', 'handler')}(ctx, scheduled_time): …`, "
            "and call blocking code through asyncio.to_thread or app.cpu_manager"
        )
    if len(job.handler_name) > _LONGEST_HANDLER_NAME:
        raise RegistrationError(
            f"{where}: the handler's name has {len(job.handler_name)} characters "
            f"({job.handler_name[:80]}…), but its column holds at most {_LONGEST_HANDLER_NAME}; shorten its "
            "own "
            "or its module's name"
        )
    if job.schema is not None and not (inspect.isclass(job.schema) and issubclass(job.schema, BaseModel)):
        raise RegistrationError(f"{where}: schema = {job.schema!r} must be a subclass of pydantic.BaseModel")
    if job.timeout_s is not None and not (isinstance(job.timeout_s, int | float) and job.timeout_s > 0):
        raise RegistrationError(
            f"{where}: timeout_s = {job.timeout_s!r} must be a positive number of seconds"
        )
    if not (isinstance(job.max_attempts, int) and job.max_attempts >= 1):
        raise RegistrationError(
            f"{where}: max_attempts = {job.max_attempts!r} must be a whole number of at least 1"
        )
    _check_objective(job.objective, where)
    for name, factory in job.resources.items():
        check_resource(factory, where=f"{where}, resource {name!r}")
    _check_signature(job, where)


def _check_objective(objective: object, where: str) -> None:
    if not isinstance(objective, Objective):
        raise RegistrationError(
            f"{where}: objective = {objective!r} must be an Objective, such as Objective(data_within_s=7200)"
        )
    for item in fields(objective):
        seconds = getattr(objective, item.name)
        if seconds is not None and not (isinstance(seconds, int | float) and 0 < seconds <= _LONGEST_S):
            raise RegistrationError(
                f"{where}: objective: {item.name} = {seconds!r} must be a number of seconds above 0, "
                f"{_LONGEST_S} at most"
            )


def _check_signature(job: JobDefinition, where: str) -> None:
    signature = inspect.signature(job.handler)
    placeholders: dict[str, Any] = dict.fromkeys(job.resources)
    try:
        signature.bind(None, None, **placeholders)
    except TypeError as error:
        names = ", ".join(["ctx", "scheduled_time", *job.resources])
        raise RegistrationError(
            f"{where}: the handler takes {signature}, but it is called with ({names}): {error}"
        ) from None


def _source(handler: Handler) -> str:
    code = getattr(inspect.unwrap(handler), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else repr(handler)
