"""Sinks: classes that write batches of intents to their destination.

Class attributes of a sink set its options; its constructor may override them. Each sink has its own queue,
tasks, time limit and retries, so that a sink that hangs or fails delays no other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel

from piko.errors import PayloadError, RegistrationError
from piko.persistence.codec import model_name
from piko.persistence.intent import WriteIntent

__all__ = ["Durability", "ResultSink", "TypedSink", "on"]

Durability = Literal["memory", "spooled"]
Route = Callable[[Any, list[Any]], Awaitable[None]]
R = TypeVar("R", bound=Route)


class ResultSink(ABC):
    """Writes batches of intents.

    Options, as class attributes or as keyword arguments of the constructor:

    - `durability`: `"memory"`, an intent is acknowledged once it is in the queue, and a crash loses what is
      in flight while the sink works; `"spooled"`, an intent is acknowledged once it is on disk, and is
      delivered by this process or a later one.
    - `queue_size`: intents that are kept in memory; beyond that, `enqueue` waits or writes to disk.
    - `batch_size`, `batch_bytes`: the most intents, and the most bytes of text, in one batch.
    - `linger_s`: seconds that an incomplete batch waits for more intents.
    - `concurrency`: batches that are written at once.
    - `timeout_s`: seconds after which a write is cancelled and counts as failed.
    - `attempts`: tries of a failing batch before Piko finds out whether the sink is down, or which records it
      refuses; also the refusals that prove a single record bad.
    - `backoff_s`, `max_backoff_s`: seconds of the first pause between tries, which doubles, and of the
      longest.

    Raises `RegistrationError` for an unknown option or an option that is out of range.
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
                    f"sink {name!r}: unknown option {option!r}; known options: {', '.join(_OPTIONS)}"
                )
            setattr(self, option, value)
        self._check()

    @abstractmethod
    async def write_batch(self, batch: list[WriteIntent]) -> None:
        """Write `batch`. After an exception, no part of the batch counts as written.

        Raise `PayloadError` if the batch holds a record that this sink can never write; that record becomes a
        dead letter at once.
        """

    def check(self, intent: WriteIntent) -> None:  # noqa: B027 - most sinks take any payload
        """Raise `PayloadError` for an intent that this sink could never write."""

    async def close(self) -> None:  # noqa: B027 - most sinks hold no resources
        """Release the resources of the sink. Called once, after the writer has stopped."""

    @property
    def models(self) -> Mapping[str, type[BaseModel]]:
        """The Pydantic models of this sink's payloads, by `model_name`."""
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
    """Mark a method of a `TypedSink` as the writer of payloads of `model` and its subclasses."""

    def mark(method: R) -> R:
        method.__piko_writes__ = model  # type: ignore[attr-defined]
        return method

    return mark


class TypedSink(ResultSink):
    """Writes each type of payload with a method of its own: `@on(Model) async def write(self, models)`.

    A payload is a model or a list of models. The method for the nearest class in the model's method
    resolution order writes it. Raises `RegistrationError` if no method is marked, or if two are marked for
    one model.
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
