"""What the leader says of jobs, into the metrics."""

from __future__ import annotations

from piko.decisions.effects import Export
from piko.observability.metrics import Metrics


def show(metrics: Metrics, export: Export) -> None:
    """Let `metrics` say what `export` does."""
    for job_id in export.forgotten:
        metrics.forget_job(job_id)
    metrics.job_next_run.set_all(export.next_run)
    metrics.job_watermark.set_all(export.watermark)
    for job_id, instant in export.last_run.items():
        metrics.job_last_run.advance(job_id, instant)
    for job_id, instant in export.last_success.items():
        metrics.job_last_success.advance(job_id, instant)
    for (job_id, reason), count in export.missed.items():
        metrics.job_missed.inc(job_id, reason, count)
    for (job_id, reason), count in export.skipped.items():
        metrics.job_skipped.inc(job_id, reason, count)
    for what, count in export.refused.items():
        metrics.rows_refused.labels(what).inc(count)
