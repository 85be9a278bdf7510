"""What is kept of each resource, and how little of it."""

from __future__ import annotations

import gc
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piko_operator.inventory import SCHEDULE, Inventory, seen_from
from piko_operator.nesting import LEVELS
from piko_operator.packing import pack, unpack

_RESOURCES = 1_000
_MOST = 4_000
"""Bytes that one resource may take, with five runs in its status; parsed it takes 15,000."""

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), _VALUES, max_size=5))
def test_what_is_packed_comes_out_as_it_went_in(value: dict[str, Any]) -> None:
    assert unpack(pack(value)) == value


@pytest.mark.parametrize("value", [None, {}, [], "text", 5])
def test_what_is_no_object_is_an_empty_one(value: object) -> None:
    assert unpack(pack(value)) == {}


def test_half_of_a_character_is_kept_as_it_is() -> None:
    value = json.loads(r'{"a": "\ud800"}')
    assert unpack(pack(value)) == value


def test_what_is_nested_too_deep_becomes_null() -> None:
    value: dict[str, Any] = {}
    for _ in range(100_000):
        value = {"a": value}
    found, levels = unpack(pack(value)), 0
    while found.get("a") is not None:
        found, levels = found["a"], levels + 1
    assert levels == LEVELS - 1
    while value:  # an object so deep is not to be freed at once
        value = value["a"]


def _body(number: int) -> dict[str, Any]:
    """A resource as the parser of a watch makes it."""
    at = "2026-01-08T10:00:00Z"
    condition = {"status": "True", "reason": "Synced", "lastTransitionTime": at, "observedGeneration": 1}
    types = ("Synced", "Ready", "Stalled", "Reconciling", "DataGivenUp", "Drifted")
    message = "the row matches the resource, and a replica has the job"
    run = {"state": "SUCCESS", "scheduledTime": at, "startTime": at, "duration": "1.234s"}
    body = {
        "metadata": {
            "namespace": "data",
            "name": f"r-{number}",
            "uid": f"6f9619ff-8b86-d011-b42d-{number:012}",
            "resourceVersion": str(number),
            "creationTimestamp": at,
            "finalizers": ["piko.dev/finalizer"],
        },
        "spec": {"jobId": f"job-{number}", "schedule": {"cron": "0 4 * * *"}, "timeZone": "Asia/Shanghai"},
        "status": {
            "conditions": [{"type": name, "message": message, **condition} for name in types],
            "recentRuns": [{"runId": f"0190c6f5-7a3c-7e2b-{number}-{run_no}", **run} for run_no in range(5)],
        },
    }
    parsed: dict[str, Any] = json.loads(json.dumps(body))
    return parsed


async def test_a_resource_with_five_runs_takes_a_few_kilobytes() -> None:
    inventory = Inventory()
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(_RESOURCES):
            inventory.observe(seen_from(_body(number), kind=SCHEDULE))
        inventory.take_marked(_RESOURCES)
        inventory.take_touched()
        gc.collect()
        each = tracemalloc.get_traced_memory()[0] / _RESOURCES
    finally:
        tracemalloc.stop()
    print(f"{each:.0f} bytes each")
    assert each < _MOST
    (first, *_) = inventory.all(SCHEDULE)
    assert first.status == _body(0)["status"]


async def test_a_version_that_is_known_is_not_read_again() -> None:
    inventory = Inventory()
    seen = seen_from(_body(7), kind=SCHEDULE)
    inventory.observe(seen)
    known = inventory.at_version(seen.uid, "7")
    assert known is inventory.get(seen.uid)
    assert inventory.at_version(seen.uid, "8") is None
    assert inventory.at_version("another", "7") is None
    inventory.take_marked(1)
    assert known is not None
    inventory.listed(SCHEDULE, [known], since=inventory.order)
    assert inventory.get(seen.uid) is known
