"""Where intents end: a sink writes batches.

A sink says how it wants to be treated by class attributes, which its constructor may override. Each sink has
a queue, tasks, a time limit and retries of its own, so that one that hangs or fails delays no other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel

from piko.errors import PayloadError, RegistrationError
from piko.persistence.codec import model_name
from piko.persistence.intent import WriteIntent

Durability = Literal["memory", "spooled"]
Route = Callable[[Any, list[Any]], Awaitable[None]]
R = TypeVar("R", bound=Route)


class ResultSink(ABC):
    """Writes batches of intents.

    `durability`: `memory` is acknowledged when it is in the queue, and a crash costs what is in flight while
    the sink works; `spooled` is acknowledged when it is on disk, and is delivered by this process or a later
    one. `batch_size` intents or `batch_bytes` of text at most make a batch, which waits `linger_s` to fill.
    `concurrency` batches are written at once, each within `timeout_s`. A batch that fails is tried `attempts`
    times, with pauses from `backoff_s` to `max_backoff_s` that double; then it is found out whether the sink
    is down, or which records it refuses.
    """

    durability: Durability = "memory"
    queue_size: int = 10_000
    batch_size: int = 500
    batch_bytes: int = 4_000_000
    linger_s: float = 0.02
    concurrency: int = 1
    timeout_s: float = 30.0
    attempts: int = 3
    backoff_s: float = 0.2
    max_backoff_s: float = 30.0

    def __init__(self, name: str, **options: Any) -> None:
        self.name = name
        for option, value in options.items():
            if option not in _OPTIONS:
                raise RegistrationError(
                    f"sink {name!r}: unknown option {option!r}; known are {', '.join(_OPTIONS)}"
                )
            setattr(self, option, value)
        self._check()

    @abstractmethod
    async def write_batch(self, batch: list[WriteIntent]) -> None:
        """Write `batch`. An exception means that nothing of it counts as written.

        A `PayloadError` says that the batch holds a record that this sink will never write; such a record
        becomes a dead letter at once.
        """

    def check(self, intent: WriteIntent) -> None:  # noqa: B027 - most sinks take any payload
        """Raise `PayloadError` for an intent that this sink could never write."""

    async def close(self) -> None:  # noqa: B027 - most sinks hold nothing
        """Let go of what the sink holds; the writer has stopped."""

    @property
    def models(self) -> Mapping[str, type[BaseModel]]:
        """Pydantic models that payloads of this sink are made of, by `model_name`."""
        return {}

    def _check(self) -> None:
        if self.durability not in ("memory", "spooled"):
            raise RegistrationError(
                f"sink {self.name!r}: durability = {self.durability!r}; expected 'memory' or 'spooled'"
            )
        for option in ("queue_size", "batch_size", "batch_bytes", "concurrency", "timeout_s", "attempts"):
            value = getattr(self, option)
            if not value > 0:
                raise RegistrationError(f"sink {self.name!r}: {option} = {value!r} must be positive")


_OPTIONS = tuple(name for name in ResultSink.__annotations__)


def on(model: type[BaseModel]) -> Callable[[R], R]:
    """Mark a method of a `TypedSink` as the one that writes payloads of `model` and its subclasses."""

    def mark(method: R) -> R:
        method.__piko_writes__ = model  # type: ignore[attr-defined]
        return method

    return mark


class TypedSink(ResultSink):
    """Writes each kind of payload by its own method: `@on(Model) async def write(self, models)`.

    A payload may be a model or a list of models. The method of the nearest class among its bases takes it.
    Raises `RegistrationError` where no method is marked, or two are marked for one model.
    """

    _routes: ClassVar[Mapping[type[BaseModel], str]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        routes = dict(cls._routes)
        own: dict[type[BaseModel], str] = {}
        for name, attribute in vars(cls).items():
            model = getattr(attribute, "__piko_writes__", None)
            if model is None:
                continue
            if not (isinstance(model, type) and issubclass(model, BaseModel)):
                raise RegistrationError(f"{cls.__qualname__}.{name}: @on({model!r}) needs a Pydantic model")
            if model in own:
                raise RegistrationError(
                    f"{cls.__qualname__}: {own[model]} and {name} are both @on({model.__name__}); keep one"
                )
            own[model] = name
        cls._routes = {**routes, **own}

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, **options)
        if not self._routes:
            raise RegistrationError(
                f"sink {name!r}: {type(self).__qualname__} has no method marked with @on(Model)"
            )

    @property
    def models(self) -> Mapping[str, type[BaseModel]]:
        return {model_name(model): model for model in self._routes}

    def check(self, intent: WriteIntent) -> None:
        for item in _items(intent.payload):
            self._route(type(item))

    async def write_batch(self, batch: list[WriteIntent]) -> None:
        groups: dict[str, list[Any]] = {}
        for intent in batch:
            for item in _items(intent.payload):
                groups.setdefault(self._route(type(item)), []).append(item)
        for name, models in groups.items():
            await getattr(self, name)(models)

    def _route(self, kind: type) -> str:
        for base in kind.__mro__:
            if base in self._routes:
                return self._routes[base]
        known = ", ".join(model.__name__ for model in self._routes)
        raise PayloadError(
            f"sink {self.name!r} has no @on method for a payload of {kind.__module__}.{kind.__qualname__}; "
            f"it writes {known}"
        )


def _items(payload: Any) -> Sequence[Any]:
    return payload if isinstance(payload, list) else (payload,)
