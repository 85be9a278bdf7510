"""What a job asks to be handed: a resource is opened before a run and closed after it, whatever happens.

There are three ways to write one, and all are used alike:

- a class with `acquire(self, ctx)`, decorated with `@asynccontextmanager`; each run makes an instance of it,
- an instance of such a class, for one that takes arguments,
- a function decorated with `@asynccontextmanager` that takes `ctx`, or nothing.

Its scope is `run`, unless `@resource(scope="app")` says that it is opened once, when a run first needs it,
shared by all runs of the process, and closed when that stops.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, overload

from piko.errors import RegistrationError

if TYPE_CHECKING:
    from piko.core.context import JobContext

__all__ = ["AppContext", "Resource", "ResourceFunction", "ResourceSource", "Scope", "resource"]

T_co = TypeVar("T_co", covariant=True)

Scope = Literal["run", "app"]

_SCOPES = ("run", "app")
_SCOPE_MARK = "__piko_resource_scope__"


class Resource(Protocol[T_co]):
    """Has `acquire(ctx)`, an async context manager that yields what the handler receives.

    `ctx` is the run's `JobContext`, or an `AppContext` where the scope is `app`.
    """

    def acquire(self, ctx: Any, /) -> AbstractAsyncContextManager[T_co]: ...


ResourceFunction = (
    Callable[[Any], AbstractAsyncContextManager[Any]] | Callable[[], AbstractAsyncContextManager[Any]]
)
ResourceSource = type[Resource[Any]] | Resource[Any] | ResourceFunction
"""Anything that `resources={"name": …}` of a job accepts."""

S = TypeVar("S", bound=ResourceSource)


@dataclass(frozen=True, slots=True, eq=False)
class AppContext(Mapping[str, Any]):
    """The context of a resource of scope `app`, which belongs to no run.

    A mapping that also has attributes.
    """

    app: str

    def __getitem__(self, key: str) -> Any:
        if key != "app":
            raise KeyError(f"{key!r}; a resource of scope 'app' belongs to no run, its context has only app")
        return self.app

    def __iter__(self) -> Iterator[str]:
        return iter(("app",))

    def __len__(self) -> int:
        return 1


@overload
def resource(source: S, /, *, scope: Scope = "run") -> S: ...
@overload
def resource(*, scope: Scope = "run") -> Callable[[S], S]: ...
def resource(source: S | None = None, /, *, scope: Scope = "run") -> S | Callable[[S], S]:
    """Mark a class, a function or an instance as a resource. Works with and without parentheses.

    `scope`: `"run"` opens it for each run, `"app"` once for all runs of the process. Raises
    `RegistrationError` at once if `source` cannot be acquired.
    """

    def mark(source: S) -> S:
        where = f"@resource on {described(source)}"
        if scope not in _SCOPES:
            raise RegistrationError(f"{where}: scope = {scope!r} must be 'run' or 'app'")
        check_resource(source, where=where)
        try:
            setattr(source, _SCOPE_MARK, scope)
        except AttributeError:
            raise RegistrationError(
                f"{where}: the scope cannot be set on it, because its class has __slots__; "
                "mark the class instead"
            ) from None
        return source

    return mark if source is None else mark(source)


def scope_of(source: ResourceSource) -> Scope:
    """The scope of a resource."""
    scope: Scope = getattr(source, _SCOPE_MARK, "run")
    return scope


def described(source: object) -> str:
    """The name of a resource for a message."""
    named: Any = source if hasattr(source, "__qualname__") else type(source)
    return f"{named.__module__}.{named.__qualname__}"


def opened(source: Any, ctx: JobContext | AppContext) -> AbstractAsyncContextManager[Any]:
    """The context manager of one acquisition; raises whatever creating it raises."""
    manager: Any
    if isinstance(source, type):
        made: Any = source()
        manager = made.acquire(ctx)
    elif (acquire := getattr(source, "acquire", None)) is not None:
        manager = acquire(ctx)
    elif _fits(source, ctx):
        manager = source(ctx)
    else:
        manager = source()
    if not isinstance(manager, AbstractAsyncContextManager):
        raise TypeError(
            f"returned a {type(manager).__qualname__}; expected an async context manager: decorate it with "
            "@asynccontextmanager"
        )
    return manager


def check_resource(source: object, *, where: str) -> None:
    """Raise `RegistrationError` unless `source` is something that can be acquired for a run."""
    is_function = callable(source) and not inspect.isclass(source) and not hasattr(source, "acquire")
    acquire: Any = source if is_function else getattr(source, "acquire", None)
    name = getattr(acquire, "__name__", "it")
    if not callable(acquire):
        raise RegistrationError(
            f"{where}: {source!r} is not a resource; expected a class with a method `acquire(self, ctx)`, an "
            "instance of one, or a function of `ctx`, each decorated with @asynccontextmanager"
        )
    undecorated = inspect.iscoroutinefunction(acquire) or inspect.isasyncgenfunction(acquire)
    if undecorated or inspect.isgeneratorfunction(inspect.unwrap(acquire)):
        raise RegistrationError(
            f"{where}: `{name}` must return an async context manager; write it as `async def` "
            "with one `yield`, decorated with @asynccontextmanager"
        )
    if inspect.isclass(source):
        _check_call(source, (), f"{where}: it is created for each run, as {source.__name__}()")
        is_method = inspect.isfunction(inspect.getattr_static(source, "acquire"))
        call = f"{where}: `acquire` is called with (self, ctx)"
        _check_call(acquire, (None, None) if is_method else (None,), call)
    elif not is_function:
        _check_call(acquire, (None,), f"{where}: `acquire` is called with (ctx)")
    elif not _fits(acquire):
        _check_call(acquire, (None,), f"{where}: `{name}` is called with (ctx), or with ()")


def _check_call(function: Callable[..., object], arguments: tuple[None, ...], what: str) -> None:
    try:
        signature = inspect.signature(function)
    except ValueError:  # some functions written in C have no signature
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        raise RegistrationError(f"{what}, but it takes {signature}: {error}") from None


def _fits(function: Callable[..., object], *arguments: object) -> bool:
    try:
        inspect.signature(function).bind(*arguments)
    except (TypeError, ValueError):
        return False
    return True
