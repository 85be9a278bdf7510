"""Metrics of each job, as cheap as counting by hand.

A run touches half a dozen of them. The client's own counters and histograms find a child by its labels, take
a lock for each number and keep an object for each bucket: a tenth of what a run costs, and some kilobytes for
each job. These keep plain numbers by job. One thread counts, that of the event loop; any thread may collect,
and finds each number as it was before or after an observation.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

from piko.clock import SystemClock
from piko.observability.streamed import StreamedCollector

_now = SystemClock().now

_Known = tuple[str, str | None, float, datetime]
"""What an exemplar shows: a run, its trace, what was observed, and when."""


class JobInstants(StreamedCollector[GaugeMetricFamily]):
    """A gauge of one instant per job, exported only while `leads` returns True."""

    def __init__(
        self, name: str, text: str, *, leads: Callable[[], bool], registry: CollectorRegistry
    ) -> None:
        self._leads = leads
        self._instants: dict[str, datetime] = {}
        super().__init__(partial(GaugeMetricFamily, name, text, labels=["job_id"]), registry=registry)

    def set(self, job_id: str, instant: datetime) -> None:
        self._instants[job_id] = instant

    def set_all(self, instants: Mapping[str, datetime | None]) -> None:
        """Set each; None removes it."""
        self._instants.update((job_id, at) for job_id, at in instants.items() if at is not None)
        for job_id, instant in instants.items():
            if instant is None:
                self.remove(job_id)

    def advance(self, job_id: str, instant: datetime) -> None:
        """As `set`, but never to an earlier instant."""
        known = self._instants.get(job_id)
        if known is None or instant > known:
            self._instants[job_id] = instant

    def remove(self, job_id: str) -> None:
        self._instants.pop(job_id, None)

    def clear(self) -> None:
        self._instants.clear()

    def _fill(self, family: GaugeMetricFamily) -> Iterator[None]:
        for job_id in list(self._instants) if self._leads() else []:
            if (instant := self._instants.get(job_id)) is not None:
                family.add_metric([job_id], instant.timestamp())
                yield


class JobDeadlines(StreamedCollector[GaugeMetricFamily]):
    """A gauge of one instant for each objective of a job, on every replica."""

    def __init__(self, name: str, text: str, *, registry: CollectorRegistry) -> None:
        self._instants: dict[str, Mapping[str, datetime]] = {}
        super().__init__(
            partial(GaugeMetricFamily, name, text, labels=["job_id", "objective"]), registry=registry
        )

    def set(self, job_id: str, instants: Mapping[str, datetime]) -> None:
        """Replace the deadlines of a job, by objective."""
        self._instants[job_id] = instants

    def remove(self, job_id: str) -> None:
        self._instants.pop(job_id, None)

    def _fill(self, family: GaugeMetricFamily) -> Iterator[None]:
        for job_id in list(self._instants):
            for objective, instant in self._instants.get(job_id, {}).items():
                family.add_metric([job_id, objective], instant.timestamp())
            yield


class JobNumbers(StreamedCollector[GaugeMetricFamily]):
    """A gauge of one number for some jobs, replaced as a whole."""

    def __init__(self, name: str, text: str, *, registry: CollectorRegistry) -> None:
        self._numbers: Mapping[str, int] = {}
        super().__init__(partial(GaugeMetricFamily, name, text, labels=["job_id"]), registry=registry)

    def replace(self, numbers: Mapping[str, int]) -> None:
        """Export `numbers`, by job, and no others."""
        self._numbers = numbers

    def _fill(self, family: GaugeMetricFamily) -> Iterator[None]:
        for job_id, number in self._numbers.items():
            family.add_metric([job_id], number)
            yield


class JobCounter(StreamedCollector[CounterMetricFamily]):
    """A counter by job and one more label. When a series began is exported while `detailed` returns True."""

    def __init__(
        self,
        name: str,
        text: str,
        *,
        label: str,
        registry: CollectorRegistry,
        detailed: Callable[[], bool] = lambda: True,
    ) -> None:
        self._detailed = detailed
        self._counts: dict[tuple[str, str], int] = {}
        self._created: dict[tuple[str, str], float] = {}
        super().__init__(
            partial(CounterMetricFamily, name, text, labels=("job_id", label)), registry=registry
        )

    def inc(self, job_id: str, value: str, by: int = 1) -> None:
        """Count `by` more of `job_id` and the other label's `value`."""
        key = (job_id, value)
        known = self._counts.get(key)
        if known is None:
            self._created[key] = _now().timestamp()
            known = 0
        self._counts[key] = known + by

    def _fill(self, family: CounterMetricFamily) -> Iterator[None]:
        created = self._created if self._detailed() else {}
        for key in list(self._counts):
            family.add_metric(key, self._counts[key], created=created.get(key))
            yield


class JobHistogram(StreamedCollector[HistogramMetricFamily]):
    """A histogram of seconds by job. The last run of each bucket that was named is its exemplar.

    While `detailed` returns False, it is exported once for all jobs together, with an empty `job_id`.
    """

    def __init__(
        self,
        name: str,
        text: str,
        *,
        buckets: Sequence[float],
        detailed: Callable[[], bool],
        registry: CollectorRegistry,
    ) -> None:
        self._name = name
        self._detailed = detailed
        self._bounds = tuple(buckets)
        self._names = [floatToGoString(bound) for bound in (*buckets, float("inf"))]
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}
        self._created: dict[str, float] = {}
        self._exemplars: dict[str, dict[int, _Known]] = {}
        super().__init__(partial(HistogramMetricFamily, name, text, labels=["job_id"]), registry=registry)

    def observe(
        self,
        job_id: str,
        seconds: float,
        *,
        run_id: str | None = None,
        trace_id: str | None = None,
        at: datetime | None = None,
    ) -> None:
        """Count `seconds` of the job. `run_id`, seen `at`, makes it the exemplar of its bucket.

        `trace_id` names the trace that the run belongs to, if it is recorded.
        """
        counts = self._counts.get(job_id)
        if counts is None:
            self._sums[job_id], self._created[job_id] = 0.0, _now().timestamp()
            counts = self._counts[job_id] = [0] * len(self._names)
        bucket = bisect_left(self._bounds, seconds)
        counts[bucket] += 1
        self._sums[job_id] += seconds
        if run_id is not None and at is not None:
            exemplars = self._exemplars.get(job_id)
            if exemplars is None:
                exemplars = self._exemplars[job_id] = {}
            exemplars[bucket] = (run_id, trace_id, seconds, at)

    @property
    def jobs(self) -> int:
        """How many jobs it counts."""
        return len(self._counts)

    def collect(self) -> Iterable[Metric]:
        if not self._detailed():
            return [self._together(self._family())]
        return super().collect()

    def _fill(self, family: HistogramMetricFamily) -> Iterator[None]:
        for job_id in list(self._counts):
            exemplars = dict(self._exemplars.get(job_id, {}))
            counts = accumulate(list(self._counts[job_id]))
            buckets = [
                (name, float(count), _exemplar(exemplars[number]))
                if number in exemplars
                else (name, float(count))
                for number, (name, count) in enumerate(zip(self._names, counts, strict=True))
            ]
            family.add_metric([job_id], buckets, self._sums[job_id])
            family.add_sample(f"{self._name}_created", {"job_id": job_id}, self._created[job_id])
            yield

    def _together(self, family: HistogramMetricFamily) -> Metric:
        totals = [sum(column) for column in zip(*list(self._counts.values()), strict=True)]
        if totals:
            buckets = [
                (name, float(count)) for name, count in zip(self._names, accumulate(totals), strict=True)
            ]
            family.add_metric([""], buckets, sum(list(self._sums.values())))
        return family


def _exemplar(known: _Known) -> Exemplar:
    run_id, trace_id, seconds, at = known
    labels = {"run_id": run_id} if trace_id is None else {"run_id": run_id, "trace_id": trace_id}
    return Exemplar(labels, seconds, at.timestamp())
