"""Instants that are exported as timestamps, and only while there are any."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class Instants(Collector):
    """A gauge of one instant for each value of `label`, replaced as a whole; exported while `leads`.

    What has no instant has no series: an age of something that does not exist would be wrong at any value.
    Without a label there is one instant at most, by the name "".
    """

    def __init__(
        self,
        name: str,
        text: str,
        *,
        registry: CollectorRegistry,
        label: str | None = None,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self._name = name
        self._text = text
        self._labels = [] if label is None else [label]
        self._leads = leads
        self._instants: Mapping[str, datetime] = {}
        registry.register(self)

    def replace(self, instants: Mapping[str, datetime | None]) -> None:
        """Export `instants`, and no others; None: there is none."""
        self._instants = {name: at for name, at in instants.items() if at is not None}

    def describe(self) -> Iterable[Metric]:
        return [GaugeMetricFamily(self._name, self._text, labels=self._labels)]

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(self._name, self._text, labels=self._labels)
        for name, instant in self._instants.items() if self._leads() else ():
            family.add_metric([name] if self._labels else [], instant.timestamp())
        return [family]
