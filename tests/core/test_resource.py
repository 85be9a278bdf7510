"""What counts as a resource, and that a job with another is refused when it is declared."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from piko import PikoApp
from piko.core.resource import AppContext, resource, scope_of
from piko.errors import RegistrationError


@resource
class Plain:
    @asynccontextmanager
    async def acquire(self, ctx: Any) -> AsyncIterator[str]:
        yield "plain"


@resource()
class WithParentheses:
    @asynccontextmanager
    async def acquire(self, ctx: Any) -> AsyncIterator[str]:
        yield "with parentheses"


@resource(scope="app")
class Shared:
    @asynccontextmanager
    async def acquire(self, ctx: AppContext) -> AsyncIterator[str]:
        yield ctx.app


class Named:
    def __init__(self, name: str) -> None:
        self.name = name

    @asynccontextmanager
    async def acquire(self, ctx: Any) -> AsyncIterator[str]:
        yield self.name


@asynccontextmanager
async def of_the_run(ctx: Any) -> AsyncIterator[str]:
    yield ctx["run_id"]


@resource(scope="app")
@asynccontextmanager
async def of_nothing() -> AsyncIterator[str]:
    yield "nothing"


class NoContext:
    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[str]:
        yield "no context"


class NotDecorated:
    async def acquire(self, ctx: Any) -> str:
        return "not decorated"


class Generator:
    async def acquire(self, ctx: Any) -> AsyncIterator[str]:
        yield "generator"


class Slotted:
    __slots__ = ()

    @asynccontextmanager
    async def acquire(self, ctx: Any) -> AsyncIterator[str]:
        yield "slotted"


@pytest.mark.parametrize(
    "source", [Plain, WithParentheses, Shared, Named("a"), Plain(), of_the_run, of_nothing]
)
def test_a_job_accepts_every_kind_of_resource(source: Any) -> None:
    app = PikoApp("trial")

    @app.job("job", resources={"thing": source})
    async def handler(ctx: Any, scheduled_time: Any, thing: str) -> None: ...

    assert "job" in app.registry


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Named, r"'thing': it is created for each run, as Named\(\), but it takes \(name: "),
        (NoContext, r"`acquire` is called with \(self, ctx\), but it takes \(self\)"),
        (NoContext(), r"`acquire` is called with \(ctx\), but it takes \(\)"),
        (NotDecorated, r"`acquire` must return an async context manager; write it as `async def`"),
        (Generator(), r"`acquire` must return an async context manager"),
        (lambda one, two: None, r"is called with \(ctx\), or with \(\), but it takes \(one, two\)"),
        (object, r"is not a resource; expected a class with a method `acquire\(self, ctx\)`"),
        ("text", r"'text' is not a resource"),
        (None, r"None is not a resource"),
    ],
)  # fmt: skip
def test_what_cannot_be_acquired_is_refused_when_the_job_is_declared(source: Any, message: str) -> None:
    app = PikoApp("trial")
    with pytest.raises(RegistrationError, match=message):

        @app.job("job", resources={"thing": source})
        async def handler(ctx: Any, scheduled_time: Any, thing: str) -> None: ...

    assert "job" not in app.registry


def test_a_resource_that_no_parameter_takes_is_refused() -> None:
    with pytest.raises(RegistrationError, match=r"called with \(ctx, scheduled_time, client\)"):

        @PikoApp("trial").job("job", resources={"client": Plain})
        async def handler(ctx: Any, scheduled_time: Any, connection: str) -> None: ...


def test_a_parameter_that_no_resource_fills_is_refused() -> None:
    with pytest.raises(RegistrationError, match="missing a required argument: 'client'"):

        @PikoApp("trial").job("job")
        async def handler(ctx: Any, scheduled_time: Any, client: str) -> None: ...


def test_the_scope_is_kept_and_a_wrong_one_refused() -> None:
    assert [scope_of(source) for source in (Plain, Shared, Shared(), of_the_run, of_nothing)] == [
        "run", "app", "app", "run", "app",
    ]  # fmt: skip
    with pytest.raises(RegistrationError, match="scope = 'job' must be 'run' or 'app'"):
        resource(Plain, scope="job")  # type: ignore[call-overload]
    with pytest.raises(RegistrationError, match="has __slots__; mark the class"):
        resource(Slotted(), scope="app")


def test_the_context_of_an_app_says_that_it_is_no_run() -> None:
    assert dict(AppContext("demo")) == {"app": "demo"}
    with pytest.raises(KeyError, match="belongs to no run"):
        AppContext("demo")["run_id"]
