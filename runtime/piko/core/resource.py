"""What a job asks to be handed: a resource is opened before a run and closed after it, whatever happens."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

from piko.errors import RegistrationError

if TYPE_CHECKING:
    from piko.core.context import JobContext

T_co = TypeVar("T_co", covariant=True)


class Resource(Protocol[T_co]):
    """A class with `acquire(ctx)`, an async context manager that yields what the handler receives."""

    def acquire(self, ctx: JobContext) -> AbstractAsyncContextManager[T_co]: ...


ResourceClass = type[Resource[Any]]
C = TypeVar("C", bound=ResourceClass)


@overload
def resource(cls: C, /) -> C: ...
@overload
def resource() -> Callable[[C], C]: ...
def resource(cls: C | None = None, /) -> C | Callable[[C], C]:
    """Mark a class as a resource; works with and without parentheses.

    Raises `RegistrationError` at once where the class has no usable `acquire(self, ctx)`.
    """
    if cls is None:
        return _checked
    return _checked(cls)


def _checked(cls: C) -> C:
    check_resource(cls, where=f"@resource on {cls.__module__}.{cls.__qualname__}")
    return cls


def check_resource(candidate: object, *, where: str) -> None:
    """Raise `RegistrationError` unless `candidate` is a class that can be acquired for a run."""
    acquire = getattr(candidate, "acquire", None)
    if not inspect.isclass(candidate) or not callable(acquire):
        raise RegistrationError(
            f"{where}: {candidate!r} is not a resource; expected a class with a method "
            "`acquire(self, ctx)` decorated with @asynccontextmanager"
        )
    wrapped = inspect.unwrap(acquire)
    undecorated = inspect.iscoroutinefunction(acquire) or inspect.isasyncgenfunction(acquire)
    if undecorated or inspect.isgeneratorfunction(wrapped):
        raise RegistrationError(
            f"{where}: `acquire` must return an async context manager; write it as `async def` with one "
            "`yield`, decorated with @asynccontextmanager"
        )
    _check_call(candidate, (), f"{where}: it is made anew for each run, as {candidate.__name__}()")
    is_method = inspect.isfunction(inspect.getattr_static(candidate, "acquire"))
    call = f"{where}: `acquire` is called with (self, ctx)"
    _check_call(acquire, (None, None) if is_method else (None,), call)


def _check_call(function: Callable[..., object], arguments: tuple[None, ...], what: str) -> None:
    try:
        signature = inspect.signature(function)
    except ValueError:  # written in C, some tell nothing of it
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        raise RegistrationError(f"{what}, but it takes {signature}: {error}") from None
