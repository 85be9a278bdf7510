"""A scrape that rests says what one says that does not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector

from piko.observability.metrics import Metrics
from piko.serving.unhurried import Unhurried

_AT = datetime(2026, 1, 8, tzinfo=UTC)


@pytest.mark.parametrize("encode", [generate_latest, generate_openmetrics])
def test_what_is_encoded_unhurried_is_the_same_text(encode: Callable[[Collector], bytes]) -> None:
    metrics = Metrics()
    for number in range(120):
        job_id = f"job-{number}"
        metrics.job_runs.inc(job_id, "SUCCESS")
        metrics.job_duration.observe(job_id, 0.2, run_id=f"run-{number}", at=_AT)
        metrics.job_last_run.set(job_id, _AT)
    assert encode(Unhurried(metrics.registry)) == encode(metrics.registry)
