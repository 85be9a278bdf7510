"""Maps a resource to a row: pure, and the same row for the same resource."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from piko.model.managed import ManagedConfig, ManagedSchedule
from piko_operator.config_spec import to_json
from piko_operator.field_types import Column, SpecPart
from piko_operator.resources import PikoJobConfig, PikoSchedule
from piko_operator.trigger_spec import CronFields, TriggerSpec


def schedule_row(resource: PikoSchedule, *, owner: str | None) -> ManagedSchedule:
    """The row for `resource`, owned by `owner` (None: SQL)."""
    schedule_type, expression = schedule_expression(resource.spec.schedule)
    return ManagedSchedule(
        schedule_type=schedule_type,
        schedule_expr=to_json(expression),
        managed_by=owner,
        **dict(columns_of(resource.spec)),
    )


def config_row(
    resource: PikoJobConfig, *, owner: str | None, secret: Mapping[str, Any] | None = None
) -> ManagedConfig:
    """The row for `resource`; `secret` is the merged content of its `configFrom`."""
    return ManagedConfig(
        secret_json=to_json(secret) if secret is not None else None,
        updated_by="piko-operator" if owner else None,
        managed_by=owner,
        **dict(columns_of(resource.spec)),
    )


def columns_of(part: SpecPart) -> Iterator[tuple[str, Any]]:
    """Column and value of each field of `part` that becomes one, those of its parts among them."""
    for name, info in type(part).model_fields.items():
        value = getattr(part, name)
        for column in info.metadata:
            if isinstance(column, Column):
                yield column.name, None if value is None else column.to(value)
        if isinstance(value, SpecPart):
            yield from columns_of(value)


def schedule_expression(trigger: TriggerSpec) -> tuple[str, dict[str, Any]]:
    """`schedule_type` and the content of `schedule_expr`."""
    if isinstance(trigger.cron, CronFields):
        return "cron", trigger.cron.model_dump(exclude_none=True)
    if trigger.cron is not None:
        return "cron", {"cron": trigger.cron.strip()}
    if trigger.interval is not None:
        return "interval", trigger.interval.model_dump(exclude_none=True)
    if trigger.date is not None:
        return "date", trigger.date.model_dump(exclude_none=True)
    raise ValueError("expected exactly one of cron, interval, date; found none")


def describe(trigger: TriggerSpec) -> str:
    """The schedule in one line, for `kubectl get`."""
    schedule_type, expression = schedule_expression(trigger)
    if schedule_type == "cron" and "cron" in expression:
        return str(expression["cron"])
    facts = ", ".join(f"{key} {value}" for key, value in expression.items())
    return f"{schedule_type}: {facts}"


def owner_of(*, cluster: str, namespace: str, name: str, uid: str) -> str:
    """The value of `managed_by`."""
    return f"{cluster}/{namespace}/{name}/{uid}"
