"""A family of very many series, made while they are read, and never all at once.

Tens of thousands of samples that live together are megabytes, and have Python's collector go through the
whole process: for a tenth of a second no thread turns. It does not notice those that are made one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

F = TypeVar("F", bound=Metric)


def streamed(make: Callable[[], F], fill: Callable[[F], Iterator[None]]) -> F:
    """The family that `make` returns, with the samples that `fill` adds to it, each time they are read.

    `fill` yields after each few; what it has added by then is read and dropped.
    """
    family = make()
    family.samples = _Streamed(make, fill)  # type: ignore[assignment] # they are only iterated over
    return family


class StreamedCollector(Collector, Generic[F]):
    """A collector of one such family: `make` returns it empty, and `_fill` adds the samples."""

    def __init__(self, make: Callable[[], F], *, registry: CollectorRegistry) -> None:
        self._family = make
        registry.register(self)

    def describe(self) -> Iterable[Metric]:
        return [self._family()]

    def collect(self) -> Iterable[Metric]:
        return [streamed(self._family, self._fill)]

    def _fill(self, family: F) -> Iterator[None]:
        raise NotImplementedError


class _Streamed:
    def __init__(self, make: Callable[[], F], fill: Callable[[F], Iterator[None]]) -> None:
        self._read: Callable[[], Iterator[Sample]] = lambda: _read(make(), fill)

    def __iter__(self) -> Iterator[Sample]:
        return self._read()


def _read(family: F, fill: Callable[[F], Iterator[None]]) -> Iterator[Sample]:
    for _ in fill(family):
        yield from family.samples
        family.samples.clear()
