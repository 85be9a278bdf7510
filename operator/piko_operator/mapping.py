"""Resource to row: pure, the same text for the same resource."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from piko.model.managed import ManagedConfig, ManagedSchedule
from piko_operator.resources import CronFields, PikoJobConfig, PikoSchedule, TriggerSpec
from piko_operator.shapes import duration_seconds

_OVERLAP = {"Skip": "skip", "Queue": "queue", "QueueAll": "queue_all", "Replace": "replace", "Allow": "allow"}
_BACKFILL = {"CatchUp": "CATCH_UP", "Skip": "SKIP"}


def schedule_row(resource: PikoSchedule, *, owner: str | None) -> ManagedSchedule:
    """The row that says what `resource` says, owned by `owner` (None: SQL)."""
    spec = resource.spec
    schedule_type, expression = schedule_expression(spec.schedule)
    return ManagedSchedule(
        job_id=spec.job_id,
        schedule_type=schedule_type,
        schedule_expr=to_json(expression),
        timezone=spec.time_zone,
        enabled=not spec.suspend,
        start_at=spec.start_at,
        end_at=spec.end_at,
        jitter_s=duration_seconds(spec.jitter),
        misfire_grace_s=duration_seconds(spec.misfire_grace),
        coalesce=spec.coalesce,
        overlap_policy=_OVERLAP[spec.overlap.policy],
        max_instances=spec.overlap.max_instances,
        concurrency_group=spec.overlap.group,
        concurrency_limit=spec.overlap.group_limit,
        priority=spec.priority,
        timeout_s=_seconds(spec.timeout),
        max_attempts=spec.retry.max_attempts,
        retry_backoff_s=duration_seconds(spec.retry.backoff),
        retry_max_backoff_s=duration_seconds(spec.retry.max_backoff),
        backfill_policy=_BACKFILL[spec.backfill.policy] if spec.backfill.policy else None,
        max_lookback_s=_seconds(spec.backfill.max_lookback),
        backfill_max_windows=spec.backfill.max_windows,
        history_successful=spec.history.successful,
        history_failed=spec.history.failed,
        managed_by=owner,
    )


def config_row(
    resource: PikoJobConfig, *, owner: str | None, secret: Mapping[str, Any] | None = None
) -> ManagedConfig:
    """The row that says what `resource` says; `secret` is what its `configFrom` amounts to."""
    spec = resource.spec
    return ManagedConfig(
        job_id=spec.job_id,
        schema_version=spec.schema_version,
        config_json=to_json(spec.config),
        secret_json=to_json(secret) if secret is not None else None,
        effective_from=spec.effective_from,
        updated_by="piko-operator" if owner else None,
        managed_by=owner,
    )


def schedule_expression(when: TriggerSpec) -> tuple[str, dict[str, Any]]:
    """`schedule_type` and the content of `schedule_expr`."""
    if isinstance(when.cron, CronFields):
        return "cron", when.cron.model_dump(exclude_none=True)
    if when.cron is not None:
        return "cron", {"cron": when.cron.strip()}
    if when.interval is not None:
        return "interval", when.interval.model_dump(exclude_none=True)
    if when.date is not None:
        return "date", when.date.model_dump(exclude_none=True)
    raise ValueError("expected exactly one of cron, interval, date; found none")


def describe(when: TriggerSpec) -> str:
    """The schedule in one line, for `kubectl get`."""
    schedule_type, expression = schedule_expression(when)
    if schedule_type == "cron" and "cron" in expression:
        return str(expression["cron"])
    facts = ", ".join(f"{key} {value}" for key, value in expression.items())
    return f"{schedule_type}: {facts}"


def to_json(value: object) -> str:
    """JSON that is the same for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def owner_of(*, cluster: str, namespace: str, name: str, uid: str) -> str:
    """What `managed_by` holds."""
    return f"{cluster}/{namespace}/{name}/{uid}"


def _seconds(duration: str | None) -> float | None:
    return None if duration is None else duration_seconds(duration)
