"""Counts conditions for the metrics, one resource at a time."""

from __future__ import annotations

from collections.abc import Mapping

from piko_operator.inventory import BACKFILL, JOB_CONFIG, SCHEDULE
from piko_operator.metrics import OperatorMetrics

_EVERY_KIND = ("Synced", "Ready", "Stalled", "Reconciling")
_MIRRORED = (*_EVERY_KIND, "Drifted")
_CONDITIONS: Mapping[str, tuple[str, ...]] = {
    SCHEDULE: (*_MIRRORED, "DataGivenUp", "Fresh"),
    JOB_CONFIG: (*_MIRRORED, "Valid", "Effective"),
    BACKFILL: (*_EVERY_KIND, "Complete", "Failed"),
}

_Counted = tuple[str, frozenset[str]]
"""The kind of a resource, and its conditions that are True."""


class ConditionTally:
    """How many resources have each condition; the sums are never counted over all of them."""

    def __init__(self, *, metrics: OperatorMetrics) -> None:
        self._metrics = metrics
        self._counted: dict[str, _Counted] = {}
        self._shared: dict[_Counted, _Counted] = {}
        """The few that there are: each is held once, although many resources are counted under it."""
        for kind, types in _CONDITIONS.items():
            for name in ("All", *types):
                metrics.resources.labels(kind=kind, condition=name).set(0)

    def note(self, uid: str, kind: str, conditions: frozenset[str]) -> None:
        """Count the resource `uid` under `conditions`, and no longer under those before."""
        after = conditions.intersection(_CONDITIONS[kind]) | {"All"}
        _, before = self._counted.get(uid, (kind, frozenset[str]()))
        counted = (kind, after)
        self._counted[uid] = self._shared.setdefault(counted, counted)
        self._move(kind, before, after)

    def forget(self, uid: str) -> None:
        """No longer count a deleted resource."""
        kind, before = self._counted.pop(uid, ("", frozenset[str]()))
        self._move(kind, before, frozenset())

    def _move(self, kind: str, before: frozenset[str], after: frozenset[str]) -> None:
        for name in before - after:
            self._metrics.resources.labels(kind=kind, condition=name).dec()
        for name in after - before:
            self._metrics.resources.labels(kind=kind, condition=name).inc()
