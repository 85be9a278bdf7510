"""Metrics that are encoded without keeping the interpreter from the threads beside it.

A thread that only computes gives up the interpreter's lock five milliseconds after another asks for it. An
event loop asks again after every line that it writes and every packet that it sends, and so waits that long
many times in a turn. The thread that encodes rests now and then instead: it ends a little later, and nobody
waits for it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

_TOGETHER = 100
"""Samples between two rests: about 0.6 ms of encoding."""
_REST_S = 0.0001


class Unhurried(Collector):
    """What `registry` collects, in the same order, with rests between samples. For one encoder at a time."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for family in self._registry.collect():
            shown = Metric(family.name, family.documentation, family.type, family.unit)
            shown.samples = _Rested(family.samples)  # type: ignore[assignment]  # encoders iterate once
            yield shown


class _Rested:
    """`samples`, with a rest after each hundred of them."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples = samples

    def __iter__(self) -> Iterator[Sample]:
        for number, sample in enumerate(self._samples, 1):
            yield sample
            if number % _TOGETHER == 0:
                time.sleep(_REST_S)
