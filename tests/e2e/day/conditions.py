"""What the resources of a day say of themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from tests.e2e.cluster import Cluster

_OF_HEALTH = ("Synced", "Ready", "Valid")
"""Conditions that are False only of what is wrong."""


def status_of(resource: dict[str, Any], condition: str) -> str | None:
    """True, False or Unknown, of the present spec; None: nothing is said of it."""
    for item in resource.get("status", {}).get("conditions", []):
        if item["type"] == condition and item.get("observedGeneration") == resource["metadata"]["generation"]:
            return str(item["status"])
    return None


def summary(resources: Sequence[dict[str, Any]], condition: str) -> str:
    """How many resources say what of a condition."""
    counts = Counter(status_of(each, condition) for each in resources)
    return ", ".join(f"{count} {status}" for status, count in sorted(counts.items(), key=str))


def not_healthy(resources: Sequence[dict[str, Any]]) -> list[str]:
    """Each condition that is False and should never be, with its reason."""
    return [
        f"{name_of(each)}: {item['type']}=False, {item['reason']}: {item['message']}"
        for each in resources
        for item in each.get("status", {}).get("conditions", [])
        if item["type"] in _OF_HEALTH and item["status"] == "False"
    ]


def name_of(resource: dict[str, Any]) -> str:
    """Kind, namespace and name."""
    meta = resource["metadata"]
    return f"{resource['kind']} {meta['namespace']}/{meta['name']}"


class DayResources:
    """The schedules and configs in the namespaces of the day."""

    def __init__(self, cluster: Cluster, namespaces: Sequence[str], *, say: Callable[[str], None]) -> None:
        self._cluster = cluster
        self.namespaces = list(namespaces)
        self._say = say

    def all(self) -> list[dict[str, Any]]:
        return [
            each
            for each in self._cluster.found("psch,pjc", "--all-namespaces")
            if each["metadata"]["namespace"] in self.namespaces
        ]

    def wait_until_ready(self, count: int) -> None:
        """Until there are so many, and each says so of its present spec. Raises `StepError`."""
        last: list[dict[str, Any]] = []

        def are_ready() -> bool:
            last[:] = self.all()
            return [status_of(each, "Ready") for each in last] == ["True"] * count

        try:
            self._cluster.wait(f"{count} resources are Ready", are_ready)
        finally:
            self._say(f"Ready: {summary(last, 'Ready')}")
            for line in not_healthy(last)[:5]:
                self._say(line)
