"""What is exported of many jobs stays within bounds, and of few jobs nothing is lost."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

import pytest

from piko.observability.metrics import Metrics

_AT = datetime(2026, 1, 8, tzinfo=UTC)


def _ran(metrics: Metrics, jobs: int) -> None:
    for number in range(jobs):
        job_id = f"job-{number}"
        metrics.job_runs.inc(job_id, "SUCCESS")
        metrics.job_duration.observe(job_id, 0.02)
        metrics.job_start_delay.observe(job_id, 0.02)
        for instants in (metrics.job_last_run, metrics.job_last_success, metrics.job_next_run):
            instants.set(job_id, _AT)


def _series(metrics: Metrics) -> int:
    """As the classic text format counts them, which Prometheus stores."""
    return sum(1 for family in metrics.registry.collect() for _ in family.samples)


@pytest.mark.parametrize(("per_job", "jobs", "detailed"), [
    ("auto", 499, True), ("auto", 500, False), ("all", 500, True), ("summary", 1, False),
])  # fmt: skip
def test_histograms_are_by_job_or_for_all_jobs_together(
    per_job: Literal["auto", "all", "summary"], jobs: int, detailed: bool
) -> None:
    metrics = Metrics()
    metrics.per_job = per_job
    _ran(metrics, jobs)
    one, all_jobs = (
        metrics.registry.get_sample_value("piko_job_duration_seconds_count", {"job_id": job_id})
        for job_id in ("job-0", "")
    )
    assert (one, all_jobs) == ((1.0, None) if detailed else (None, float(jobs)))


def test_ten_thousand_jobs_are_sixty_thousand_series_at_most() -> None:
    metrics = Metrics()
    _ran(metrics, 10_000)
    for number in range(10_000):
        metrics.job_deadline.set(f"job-{number}", {"data": _AT})
    assert _series(metrics) <= 60_000
