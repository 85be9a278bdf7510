"""The judges of a day, over what a cluster might say."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.e2e.day.conditions import not_healthy, status_of
from tests.e2e.day.requests import conflicts, counted, status_patches, writes_between
from tests.e2e.day.resources import due_before
from tests.e2e.day.rows import differing

pytestmark = pytest.mark.unit

_METRICS = """
# TYPE apiserver_request_total counter
apiserver_request_total{code="200",group="piko.dev",subresource="status",verb="PATCH"} 7
apiserver_request_total{code="409",group="piko.dev",subresource="status",verb="PATCH"} 2
apiserver_request_total{code="409",group="piko.dev",subresource="",verb="PATCH"} 1e+00
apiserver_request_total{code="200",group="piko.dev",subresource="",verb="LIST"} 11
apiserver_request_total{code="409",group="coordination.k8s.io",subresource="",verb="PUT"} 5
apiserver_request_terminations_total{code="409",group="piko.dev"} 5
"""


def resource(
    uid: str, *, version: str = "1", generation: int = 1, conditions: tuple[tuple[str, str, int], ...] = ()
) -> dict[str, Any]:
    return {
        "kind": "PikoSchedule",
        "metadata": {
            "uid": uid, "namespace": "data", "name": uid,
            "resourceVersion": version, "generation": generation,
        },
        "status": {
            "conditions": [
                {"type": kind, "status": status, "observedGeneration": seen, "reason": "R", "message": "m"}
                for kind, status, seen in conditions
            ]
        },
    }  # fmt: skip


def test_only_writes_of_piko_s_kinds_count() -> None:
    found = counted(_METRICS)
    assert (status_patches(found), conflicts(found)) == (9, 3)


def test_a_write_is_a_new_version_without_a_new_generation() -> None:
    before = [resource("a", version="10"), resource("b", version="11"), resource("c", version="12")]
    seen = [
        ("a", "10", 1),
        ("b", "11", 1),
        ("a", "20", 2),
        ("a", "21", 2),
        ("b", "22", 1),
        ("b", "22", 1),
        ("d", "23", 1),
    ]
    assert writes_between(before, seen) == {"a": 1, "b": 1}


def test_a_condition_of_an_older_spec_says_nothing() -> None:
    edited = resource("a", generation=2, conditions=(("Ready", "True", 1), ("Synced", "Unknown", 2)))
    assert (status_of(edited, "Ready"), status_of(edited, "Synced"), status_of(edited, "Valid")) == (
        None, "Unknown", None,
    )  # fmt: skip


def test_only_what_is_wrong_is_not_healthy() -> None:
    found = not_healthy(
        [
            resource(
                "a", conditions=(("Ready", "True", 1), ("Drifted", "False", 1), ("Stalled", "False", 1))
            ),
            resource("b", conditions=(("Ready", "False", 1), ("Synced", "Unknown", 1))),
        ]
    )
    assert found == ["PikoSchedule data/b: Ready=False, R: m"]


def test_rows_that_differ_are_named_with_their_columns() -> None:
    before = {
        ("scheduled_job", "a"): {"priority": "0", "enabled": "1"},
        ("job_state", "a"): {"cursor_at": "x"},
    }
    after = {("scheduled_job", "a"): {"priority": "0", "enabled": "0"}, ("job_config", "a"): {}}
    assert differing(before, before) == []
    assert differing(before, after) == [
        "a in job_config is there now",
        "a in job_state is not there now",
        "a in scheduled_job: enabled: 1 -> 0",
    ]


@pytest.mark.parametrize(
    ("now", "months", "due"),
    [
        (datetime(2026, 11, 30, 17, tzinfo=UTC), 0, datetime(2026, 11, 3, 3, tzinfo=UTC)),
        (datetime(2026, 11, 30, 17, tzinfo=UTC), 11, datetime(2025, 12, 3, 3, tzinfo=UTC)),
        (datetime(2026, 1, 3, 2, 59, tzinfo=UTC), 0, datetime(2025, 12, 3, 3, tzinfo=UTC)),
        (datetime(2026, 1, 3, 3, tzinfo=UTC), 0, datetime(2026, 1, 3, 3, tzinfo=UTC)),
    ],
)
def test_the_last_due_time_of_a_month_is_known(now: datetime, months: int, due: datetime) -> None:
    assert due_before(now, months=months) == due
