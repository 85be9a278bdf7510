"""What the leader says of jobs, into the metrics."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from piko.decisions.effects import Export
from piko.observability.metrics import JobInstants, Metrics


def show(metrics: Metrics, export: Export) -> None:
    """Let `metrics` say what `export` does."""
    for job_id in export.forgotten:
        metrics.forget_job(job_id)
    _set(metrics.job_next_run, export.next_run)
    _set(metrics.job_watermark, export.watermark)
    for job_id, instant in export.last_run.items():
        metrics.job_last_run.advance(job_id, instant)
    for job_id, instant in export.last_success.items():
        metrics.job_last_success.advance(job_id, instant)
    for (job_id, reason), count in export.missed.items():
        metrics.job_missed.labels(job_id, reason).inc(count)
    for what, count in export.refused.items():
        metrics.rows_refused.labels(what).inc(count)


def _set(gauge: JobInstants, instants: Mapping[str, datetime | None]) -> None:
    for job_id, instant in instants.items():
        if instant is None:
            gauge.remove(job_id)
        else:
            gauge.set(job_id, instant)
