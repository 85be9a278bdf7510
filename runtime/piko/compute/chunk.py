"""A chunk of a computation: what a worker receives, does and answers."""

from __future__ import annotations

import functools
import pickle
import reprlib
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import cloudpickle

from piko.clock import SystemClock
from piko.errors import ComputeError, ItemError

if TYPE_CHECKING:
    from piko.observability.run_log import Aside

_LONGEST_STRIDE = 64
_SHORT_S = 0.001

Functions = tuple[Callable[..., Any], Callable[..., Any] | None]
"""The map function of a chunk, and its reduce function."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Items for one function. `call` identifies the call, so that a worker loads its function only once."""

    call: int
    count: int
    fn: bytes
    """Empty if the worker already has the functions of this call."""
    items: bytes
    starred: bool = False
    """Each item is `(args, kwargs)` rather than the one argument."""
    reduce_fn: bytes | None = None
    keep_going: bool = False
    """Continue after an item that raises."""
    budget_s: float | None = None
    """Stop after the item during which this time has passed."""
    item_timeout_s: float | None = None
    run: Mapping[str, object] = field(default_factory=dict)
    """The run that log lines of the functions carry."""
    function: str = ""
    """The name of the function, for a span."""
    traceparent: str | None = None
    """The span that goes on where the chunk is computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A serialized exception.

    `offset` is its item's position in the chunk; None if it concerns no single item.
    """

    offset: int | None
    error: bytes
    where: str
    item: str = ""

    def restored(self, *, first: int | None) -> BaseException:
        """The exception as the function raised it, caused by an `ItemError`; `first` is the chunk's index."""
        error: BaseException = pickle.loads(self.error)  # noqa: S301 - written by our own worker
        index = None if first is None or self.offset is None else first + self.offset
        what = "in a worker" if index is None else f"item {index} ({self.item})"
        error.__cause__ = ItemError(f"{what}\n{self.where.rstrip()}", index=index)
        if index is not None:
            error.add_note(f"item {index} of map_reduce: {self.item}")
        return error


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The outcome of the first `done` items of a chunk; a failed item has None as its result."""

    done: int
    results: bytes
    failures: tuple[Failure, ...]
    seconds: float
    said: Aside | None = None
    """What the functions logged and printed, for the log of the run."""


class ItemPointer(Protocol):
    """The shared memory in which a worker notes the item that it is processing."""

    def __setitem__(self, key: int, value: int, /) -> None: ...


def load_functions(chunk: Chunk) -> Functions:
    """Load the functions of `chunk`; raises whatever importing them raises."""
    reduce_fn = None if chunk.reduce_fn is None else pickle.loads(chunk.reduce_fn)  # noqa: S301 - our own bytes
    return pickle.loads(chunk.fn), reduce_fn  # noqa: S301 - our own bytes


def pickled_function(fn: Callable[..., Any], *, role: str) -> bytes:
    """`fn` as bytes: by reference where it can be imported, by value for `__main__`, lambdas and closures.

    Raises `ComputeError`, which states what cannot be sent.
    """
    try:
        return cloudpickle.dumps(fn)  # type: ignore[no-any-return]
    except (pickle.PicklingError, TypeError, AttributeError, RecursionError) as error:
        raise ComputeError(
            f"{role} = {name_of(fn)} cannot be sent to a worker process: {error}; everything it refers to "
            "must "
            "be picklable, so pass plain values, and open connections, locks and clients inside the function"
        ) from error


def pickled_items(items: Sequence[Any]) -> bytes:
    """`items` as bytes; raises whatever pickle raises."""
    return cloudpickle.dumps(items)  # type: ignore[no-any-return]


def name_of(fn: Callable[..., Any]) -> str:
    """The name of `fn` for a message."""
    name = getattr(fn, "__qualname__", None)
    return f"{fn.__module__}.{name}" if name is not None else reprlib.repr(fn)


def function_name(fn: Callable[..., Any]) -> str:
    """The name of `fn`, without anything that it holds: of an object that can be called, its type's."""
    named = fn if hasattr(fn, "__qualname__") else type(fn)
    return f"{named.__module__}.{named.__qualname__}"


def run_chunk(
    chunk: Chunk,
    *,
    load: Callable[[Chunk], Functions],
    place: ItemPointer,
    limit: int | None = None,
) -> Answer:
    """Run `chunk`, at most `limit` items of it. Never raises: errors are in the answer."""
    monotonic = SystemClock().monotonic
    begun = monotonic()
    try:
        fn, reduce_fn = load(chunk)
        begun = monotonic()  # the time of an import says nothing about the items
        items = pickle.loads(chunk.items)  # noqa: S301 - written by the process that started us
    except Exception as error:  # noqa: BLE001 - importing user code can raise anything
        return _nothing(error, "the worker could not load the function or the items", monotonic() - begun)

    until = float("inf") if chunk.budget_s is None else begun + chunk.budget_s
    results: list[Any] = []
    failures: list[Failure] = []
    looked, stride, look_at = begun, 1, 1
    for offset, item in enumerate(items[:limit]):
        place[0] = offset
        try:
            results.append(fn(*item[0], **item[1]) if chunk.starred else fn(item))
        except BaseException as error:  # noqa: BLE001 - whatever an item raises is its outcome, sys.exit too
            results.append(None)
            failures.append(_failure(error, offset=offset, item=None if chunk.starred else item))
            if not chunk.keep_going:
                break
        if offset + 1 == look_at:  # reading the clock takes longer than the smallest items
            now = monotonic()
            if now > until:
                break
            stride = min(stride * 2, _LONGEST_STRIDE) if now - looked < _SHORT_S else 1
            looked, look_at = now, look_at + stride

    done = len(results)
    if reduce_fn is not None and not failures:
        try:
            results = [functools.reduce(reduce_fn, results)]
        except Exception as error:  # noqa: BLE001 - user code can raise anything
            return _nothing(error, "in reduce_fn", monotonic() - begun)
    payload = _pickled_results(results, failures)
    return Answer(done=done, results=payload, failures=tuple(failures), seconds=monotonic() - begun)


def _pickled_results(results: list[Any], failures: list[Failure]) -> bytes:
    try:
        return pickled_items(results)
    except Exception:  # noqa: BLE001 - a person's __reduce__ can raise anything; each item is tried below
        for offset, result in enumerate(results):
            try:
                pickled_items([result])
            except Exception as error:  # noqa: BLE001 - as above
                unsendable = ComputeError(
                    f"the result, a {type(result).__qualname__}, cannot be sent back: {error}; "
                    "return plain values"
                )
                results[offset] = None
                failures.append(_failure(unsendable, offset=offset, item=result))
        failures.sort(key=lambda failure: failure.offset or 0)
        return pickled_items(results)


def _nothing(error: BaseException, what: str, seconds: float) -> Answer:
    error.add_note(what)
    failure = _failure(error, offset=None)
    return Answer(done=0, results=pickled_items([]), failures=(failure,), seconds=seconds)


def _failure(error: BaseException, *, offset: int | None, item: object = None) -> Failure:
    frames = traceback.extract_tb(error.__traceback__)[1:]
    where = "".join(["Traceback in the worker:\n", *traceback.format_list(frames)])
    where += "".join(traceback.format_exception_only(error))
    return Failure(offset=offset, error=_portable(error), where=where, item=_shown(item))


def _portable(error: BaseException) -> bytes:
    """The exception as bytes that can be loaded; if it cannot be pickled, a `ComputeError` with its text."""
    bare = error.with_traceback(None)
    bare.__context__ = bare.__cause__ = None
    try:
        data: bytes = cloudpickle.dumps(bare)
        if isinstance(pickle.loads(data), BaseException):  # noqa: S301 - our own bytes
            return data
    except Exception:  # noqa: BLE001, S110 - exceptions with constructors of their own often cannot be loaded
        pass
    return pickle.dumps(
        ComputeError(f"{type(error).__module__}.{type(error).__qualname__}: {error} (itself not picklable)")
    )


def _shown(item: object) -> str:
    try:
        return reprlib.repr(item)
    except Exception:  # noqa: BLE001 - a failing __repr__ must not hide the real error
        return f"a {type(item).__qualname__}"
