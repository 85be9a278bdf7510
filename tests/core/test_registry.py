from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from pydantic import BaseModel

from piko.core.registry import JobDefinition, JobRegistry
from piko.core.resource import resource
from piko.errors import RegistrationError


async def handler(ctx: object, scheduled_time: object) -> None:
    """Takes what a handler is called with."""


async def with_db(ctx: object, scheduled_time: object, db: object) -> None:
    """Takes a resource, too."""


def blocking(ctx: object, scheduled_time: object) -> None:
    """Is not async."""


class Called:
    """An object with an async `__call__`."""

    async def __call__(self, ctx: object, scheduled_time: object) -> None:
        """Takes what a handler is called with."""


class Database:
    @asynccontextmanager
    async def acquire(self, ctx: object) -> AsyncIterator[int]:
        yield 1


class Config(BaseModel):
    limit: int = 3


def register(handler: Any = handler, *, job_id: Any = "orders", **values: Any) -> JobRegistry:
    registry = JobRegistry()
    registry.register(JobDefinition(job_id=job_id, handler=handler, **{"resources": {}, **values}))
    return registry


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(RegistrationError) as caught:
        call()
    return str(caught.value)


# ---- jobs -------------------------------------------------------------------------------------------


def test_a_job_is_found_by_its_id() -> None:
    registry = register(schema=Config)
    job = registry.get("orders")

    assert job is not None
    assert (job.schema, job.handler_name) == (Config, "tests.core.test_registry:handler")
    assert ("orders" in registry, "other" in registry, len(registry)) == (True, False, 1)
    assert [item.job_id for item in registry] == ["orders"]
    assert registry.get("other") is None


@pytest.mark.parametrize("job_id", ["a", "A.b-c_d:9", "x" * 128])
def test_ids_that_the_database_takes_are_taken(job_id: str) -> None:
    assert job_id in register(job_id=job_id)


@pytest.mark.parametrize("job_id", ["", "x" * 129, "a b", "ä", "a/b", "a\n", None, 5])
def test_ids_that_the_database_would_refuse_are_refused(job_id: object) -> None:
    message = refusal(lambda: register(job_id=job_id))

    assert f"job {job_id!r}" in message
    assert "1 to 128 characters of A-Z a-z 0-9 _ . : -" in message


def test_two_jobs_with_one_id_are_reported_with_both_places() -> None:
    registry = register()
    message = refusal(
        lambda: registry.register(JobDefinition(job_id="orders", handler=with_db, resources={"db": Database}))
    )

    assert f"{__file__}:{handler.__code__.co_firstlineno}" in message
    assert f"{__file__}:{with_db.__code__.co_firstlineno}" in message
    assert "give one of the two another job_id" in message


def test_a_handler_that_is_not_async_is_reported_with_the_remedy() -> None:
    message = refusal(lambda: register(blocking))

    assert f"{__file__}:{blocking.__code__.co_firstlineno}" in message
    assert "the handler is not async; write `async def blocking(ctx, scheduled_time): …`" in message
    assert "asyncio.to_thread" in message


@pytest.mark.parametrize("it", [Called, lambda ctx, scheduled_time: None, object(), "handler"])
def test_what_cannot_be_awaited_is_no_handler(it: object) -> None:
    assert "the handler is not async" in refusal(lambda: register(it))


@pytest.mark.parametrize(
    "it", [Called(), functools.partial(with_db, db=1), Called().__call__], ids=["object", "partial", "method"]
)
def test_whatever_is_awaitable_when_it_is_called_is_a_handler(it: object) -> None:
    assert "orders" in register(it)


def test_a_handler_that_lacks_a_parameter_sees_how_it_is_called() -> None:
    message = refusal(lambda: register(handler, resources={"db": Database}))

    assert "but it is called with (ctx, scheduled_time, db)" in message
    assert "unexpected keyword argument 'db'" in message


def test_a_handler_with_a_parameter_that_nothing_provides_is_refused() -> None:
    assert "missing a required argument: 'db'" in refusal(lambda: register(with_db))


async def only_context(ctx: object) -> None:
    """Lacks the due time."""


async def nothing() -> None:
    """Takes nothing."""


@pytest.mark.parametrize(
    ("it", "resources", "remedy"),
    [
        (
            only_context,
            {},
            "add `scheduled_time` to its parameters: `async def only_context(ctx, scheduled_time)`",
        ),
        (
            nothing,
            {},
            "add `ctx`, `scheduled_time` to its parameters: `async def nothing(ctx, scheduled_time)`",
        ),
        (with_db, {}, "add what provides `db`: @app.job(resources={'db': …})"),
        (
            handler,
            {"db": Database},
            "add `db` to its parameters: `async def handler(ctx, scheduled_time, db)`",
        ),
        (handler, {"ctx": Database}, "give the resource 'ctx' another name"),
    ],
)
def test_a_signature_that_does_not_fit_is_refused_with_what_to_add(
    it: object, resources: dict[str, object], remedy: str
) -> None:
    assert refusal(lambda: register(it, resources=resources)).endswith(remedy)


def test_a_resource_cannot_take_the_place_of_the_context() -> None:
    assert "multiple values for argument 'ctx'" in refusal(lambda: register(resources={"ctx": Database}))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"schema": dict}, "schema = <class 'dict'> must be a subclass of pydantic.BaseModel"),
        ({"schema": Config()}, "must be a subclass of pydantic.BaseModel"),
        ({"timeout_s": 0}, "timeout_s = 0 must be a positive number of seconds"),
        ({"timeout_s": float("nan")}, "timeout_s = nan must be a positive number"),
        ({"timeout_s": "10s"}, "timeout_s = '10s' must be a positive number"),
        ({"max_attempts": 0}, "max_attempts = 0 must be a whole number of at least 1"),
        ({"max_attempts": "3"}, "max_attempts = '3' must be a whole number"),
        ({"stateful": "yes"}, "stateful = 'yes' must be True or False"),
        ({"backfill_policy": "LATER"}, "must be BackfillPolicy.CATCH_UP or BackfillPolicy.SKIP"),
        ({"resources": ["db"]}, "resources = ['db'] must map each further parameter of the handler"),
        ({"resources": {5: Database}}, "resources has the key 5, which cannot name a parameter"),
    ],
)
def test_values_that_no_run_could_have_are_refused_with_the_job(
    values: dict[str, object], expected: str
) -> None:
    message = refusal(lambda: register(**values))

    assert message.startswith("job 'orders' (")
    assert expected in message


# ---- resources --------------------------------------------------------------------------------------


def test_the_decorator_works_with_and_without_parentheses() -> None:
    assert resource(Database) is Database
    assert resource()(Database) is Database


class WithoutAcquire:
    pass


class Undecorated:
    async def acquire(self, ctx: object) -> AsyncIterator[int]:
        yield 1


class Coroutine:
    async def acquire(self, ctx: object) -> int:
        return 1


class Blocking:
    @contextmanager
    def acquire(self, ctx: object) -> Iterator[int]:
        yield 1


class WithoutContext:
    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[int]:
        yield 1


class WithArguments(Database):
    def __init__(self, dsn: str) -> None:
        self.dsn = dsn


BAD: list[tuple[Any, str]] = [
    (WithoutAcquire, "is not a resource; expected a class with a method `acquire(self, ctx)`"),
    (Undecorated, "decorated with @asynccontextmanager"),
    (Coroutine, "decorated with @asynccontextmanager"),
    (Blocking, "decorated with @asynccontextmanager"),
    (WithoutContext, "`acquire` is called with (self, ctx), but it takes (self)"),
    (WithArguments, "as WithArguments(), but it takes (dsn: 'str')"),
]


def named(value: object) -> str:
    return getattr(value, "__name__", type(value).__name__)


@pytest.mark.parametrize(("it", "expected"), BAD, ids=named)
def test_a_class_that_cannot_be_acquired_is_refused_where_it_is_marked(it: Any, expected: str) -> None:
    message = refusal(lambda: resource(it))

    assert message.startswith(f"@resource on {__name__}.{it.__name__}: ")
    assert expected in message


@pytest.mark.parametrize(("it", "expected"), [*BAD, (object(), "is not a resource")], ids=named)
def test_a_class_that_cannot_be_acquired_is_refused_where_a_job_asks_for_it(it: Any, expected: str) -> None:
    message = refusal(lambda: register(with_db, resources={"db": it}))

    assert message.startswith("job 'orders' (")
    assert "resource 'db'" in message
    assert expected in message


def test_acquire_may_belong_to_the_class() -> None:
    class Shared:
        @classmethod
        @asynccontextmanager
        async def acquire(cls, ctx: object) -> AsyncIterator[int]:
            yield 1

    class Static:
        @staticmethod
        @asynccontextmanager
        async def acquire(ctx: object) -> AsyncIterator[int]:
            yield 1

    assert resource(Shared) is Shared
    assert resource(Static) is Static
