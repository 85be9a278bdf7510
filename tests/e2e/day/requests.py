"""How often the API server was asked to write Piko's resources, as it counts itself."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from tests.e2e.cluster import Cluster

_SAMPLE = re.compile(r"apiserver_request_total\{(?P<labels>[^}]*)\} (?P<value>\S+)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')
Counts = Counter[tuple[str, str, str]]
"""How many requests there were, by verb, subresource and code."""


def status_patches(counts: Counts) -> int:
    """Patches of a status, refused ones too: only the operator makes them."""
    return sum(count for (verb, part, _), count in counts.items() if verb == "PATCH" and part == "status")


def conflicts(counts: Counts) -> int:
    """Writes that were refused because somebody else had written."""
    return sum(count for (_, _, code), count in counts.items() if code == "409")


def counted(metrics: str) -> Counts:
    """By verb, subresource and code, the requests for Piko's kinds in the API server's metrics."""
    found: Counts = Counter()
    for sample in _SAMPLE.finditer(metrics):
        labels = dict(_LABEL.findall(sample["labels"]))
        if labels.get("group") == "piko.dev":
            found[labels["verb"], labels["subresource"], labels["code"]] += int(float(sample["value"]))
    return found


def requests_now(cluster: Cluster) -> Counts:
    """Since the API server started."""
    return counted(cluster.kubectl("get", "--raw", "/metrics"))


def writes_between(
    before: Iterable[dict[str, Any]], versions: Iterable[tuple[str, str, int]]
) -> Counter[str]:
    """By resource, how often it was written without a change of its spec.

    - `before`: the resources as they were.
    - `versions`: uid, resource version and generation of each version that a watch saw since.
    """
    known = {each["metadata"]["uid"]: int(each["metadata"]["generation"]) for each in before}
    seen = {each["metadata"]["uid"]: {each["metadata"]["resourceVersion"]} for each in before}
    found: Counter[str] = Counter()
    for uid, version, generation in versions:
        if uid not in seen or version in seen[uid]:
            continue
        seen[uid].add(version)
        if generation == known[uid]:
            found[uid] += 1
        known[uid] = generation
    return found
