"""Checks of what `app.job` is given: a job that could not run is refused where it is declared.

Each message names the job and the line of its handler, the argument with its value, and what to write
instead.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from piko.core.resource import check_resource
from piko.core.types import BackfillPolicy, Objective
from piko.errors import RegistrationError
from piko.text import repr_text

if TYPE_CHECKING:
    from piko.core.registry import JobDefinition

JOB_ID_PATTERN = re.compile(r"[A-Za-z0-9_.:-]{1,128}")

_LONGEST_HANDLER_NAME = 512
_LONGEST_S = 10**10
_CALLED_WITH = ("ctx", "scheduled_time")


def place(job_id: object, handler: object) -> str:
    """A job in a message: its id, and the file and line of its handler."""
    return f"job {job_id!r} ({source(handler)})"


def source(handler: object) -> str:
    """The file and line at which a handler begins."""
    code = getattr(inspect.unwrap(handler), "__code__", None) if callable(handler) else None
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else repr_text(handler)


def check_names(given: Iterable[str], *, known: Collection[str], where: str) -> None:
    """Raise `RegistrationError` if `given` has a name that `app.job` does not take."""
    for name in given:
        alike = get_close_matches(name, known, n=1)
        remedy = f"write {alike[0]} = …" if alike else f"it takes {', '.join(known)}"
        raise RegistrationError(f"{where}: app.job has no argument {name!r}; {remedy}")


def check_declaration(job: JobDefinition, *, where: str) -> None:
    """Raise `RegistrationError` if `job` could not run."""
    _check_id(job.job_id, where)
    _check_handler(job, where)
    _check_values(job, where)
    _check_objective(job.objective, where)
    _check_resources(job.resources, where)
    _check_signature(job, where)


def _check_id(job_id: object, where: str) -> None:
    if not isinstance(job_id, str) or not JOB_ID_PATTERN.fullmatch(job_id):
        raise RegistrationError(f"{where}: job_id must be 1 to 128 characters of A-Z a-z 0-9 _ . : -")


def _check_handler(job: JobDefinition, where: str) -> None:
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
            f"{where}: the handler's name has {len(job.handler_name)} characters ({job.handler_name[:80]}…), "
            f"but its column holds at most {_LONGEST_HANDLER_NAME}; shorten its own or its module's name"
        )


def _check_values(job: JobDefinition, where: str) -> None:
    def refuse(name: str, expected: str) -> None:
        raise RegistrationError(f"{where}: {name} = {repr_text(getattr(job, name))} must be {expected}")

    if job.schema is not None and not (inspect.isclass(job.schema) and issubclass(job.schema, BaseModel)):
        refuse("schema", "a subclass of pydantic.BaseModel")
    if not isinstance(job.stateful, bool):
        refuse("stateful", "True or False")
    if not isinstance(job.backfill_policy, BackfillPolicy):
        refuse("backfill_policy", " or ".join(f"BackfillPolicy.{policy.name}" for policy in BackfillPolicy))
    if job.timeout_s is not None and not (isinstance(job.timeout_s, int | float) and job.timeout_s > 0):
        refuse("timeout_s", "a positive number of seconds")
    if not (isinstance(job.max_attempts, int) and job.max_attempts >= 1):
        refuse("max_attempts", "a whole number of at least 1")


def _check_objective(objective: object, where: str) -> None:
    if not isinstance(objective, Objective):
        raise RegistrationError(
            f"{where}: objective = {repr_text(objective)} must be an Objective, such as "
            "Objective(data_within_s=7200)"
        )
    for item in fields(objective):
        seconds = getattr(objective, item.name)
        if seconds is not None and not (isinstance(seconds, int | float) and 0 < seconds <= _LONGEST_S):
            raise RegistrationError(
                f"{where}: objective: {item.name} = {seconds!r} must be a number of seconds above 0, "
                f"{_LONGEST_S} at most"
            )


def _check_resources(resources: object, where: str) -> None:
    if not isinstance(resources, Mapping):
        raise RegistrationError(
            f"{where}: resources = {repr_text(resources)} must map each further parameter of the handler to "
            "what provides it: resources={'db': Database}"
        )
    for name, factory in resources.items():
        if not (isinstance(name, str) and name.isidentifier()):
            raise RegistrationError(
                f"{where}: resources has the key {repr_text(name)}, which cannot name a parameter of the "
                "handler; write that parameter's name"
            )
        check_resource(factory, where=f"{where}, resource {name!r}")


def _check_signature(job: JobDefinition, where: str) -> None:
    signature = inspect.signature(job.handler)
    placeholders: dict[str, Any] = dict.fromkeys(job.resources)
    try:
        signature.bind(None, None, **placeholders)
    except TypeError as error:
        names = ", ".join([*_CALLED_WITH, *job.resources])
        raise RegistrationError(
            f"{where}: the handler takes {signature}, but it is called with ({names}): {error}; "
            f"{_remedy(job, signature)}"
        ) from None


def _remedy(job: JobDefinition, signature: inspect.Signature) -> str:
    """What to add or take out so that the call of the handler fits."""
    if taken := [item for item in _CALLED_WITH if item in job.resources]:
        return f"give the resource {taken[0]!r} another name"
    name = getattr(job.handler, "__name__", "handler")
    call = f"`async def {name}({', '.join([*_CALLED_WITH, *job.resources])})`"
    kinds = inspect.Parameter
    parameters = list(signature.parameters.values())
    positional = [
        item for item in parameters if item.kind in {kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD}
    ]
    if len(positional) < len(_CALLED_WITH):
        added = ", ".join(f"`{item}`" for item in _CALLED_WITH[len(positional) :])
        return f"add {added} to its parameters: {call}"
    further = [item for item in parameters if item not in positional[: len(_CALLED_WITH)]]
    names = {item.name for item in further}
    if lacking := [item for item in job.resources if item not in names]:
        return f"add {', '.join(f'`{item}`' for item in lacking)} to its parameters: {call}"
    if unfilled := [
        item.name for item in further if item.default is kinds.empty and item.name not in job.resources
    ]:
        lacking_sources = ", ".join(f"`{item}`" for item in unfilled)
        sources = ", ".join(f"'{item}': …" for item in [*job.resources, *unfilled])
        return f"add what provides {lacking_sources}: @app.job(resources={{{sources}}})"
    return f"write {call}"
