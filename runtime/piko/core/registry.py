"""The jobs that code declares: a row can only run what is registered here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from heapq import nsmallest
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from pydantic import BaseModel

from piko.core.context import JobContext
from piko.core.declaration import check_declaration, place, source
from piko.core.resource import ResourceSource
from piko.core.types import BackfillPolicy, Objective
from piko.errors import RegistrationError

Handler = Callable[..., Awaitable[object]]

_NO_OBJECTIVE = Objective()
_SHOWN = 20

ConfigT = TypeVar("ConfigT")
P = ParamSpec("P")
R = TypeVar("R")


class Declares(Protocol[ConfigT]):
    """Registers a handler, whose context holds the config of the job's schema."""

    def __call__(
        self, handler: Callable[Concatenate[JobContext[ConfigT], P], Coroutine[Any, Any, R]], /
    ) -> Callable[Concatenate[JobContext[ConfigT], P], Coroutine[Any, Any, R]]: ...


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
        self._first_ids: str | None = None

    def register(self, job: JobDefinition) -> None:
        """Add `job`. Raises `RegistrationError` if it could not run."""
        check_declaration(job, where=place(job.job_id, job.handler))
        earlier = self._jobs.get(job.job_id)
        if earlier is not None:
            raise RegistrationError(
                f"{place(job.job_id, job.handler)}: the id is already taken by {source(earlier.handler)}; "
                "give one of the two another job_id"
            )
        self._jobs[job.job_id] = job
        self._first_ids = None

    @property
    def first_ids(self) -> str:
        """The first ids of jobs, for a message that may be written for each of very many rows."""
        if self._first_ids is None:
            self._first_ids = ", ".join(nsmallest(_SHOWN, self._jobs))
        return self._first_ids

    def get(self, job_id: str) -> JobDefinition | None:
        return self._jobs.get(job_id)

    def __iter__(self) -> Iterator[JobDefinition]:
        return iter(self._jobs.values())

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._jobs
