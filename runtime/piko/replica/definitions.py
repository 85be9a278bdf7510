"""What the code says of its jobs, as it is published in `job_definition` for the operator and for people."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache

from piko.clock import Clock, Slices
from piko.core.registry import JobDefinition, JobRegistry
from piko.core.types import Objective
from piko.identity import content_hash
from piko.model.definitions import DefinitionRow
from piko.model.instances import Instance
from piko.observability.logs import get_logger
from piko.text import error_text

_LONGEST_SCHEMA = 1_000_000
"""Characters; what is longer would not fit into a packet together with others."""

_TOGETHER = 20
"""Jobs between two looks at the clock."""
_MOST_ALIKE = 10_000
_NO_OBJECTIVE = Objective()
_NONE_PROMISED = str(_NO_OBJECTIVE)

log = get_logger(__name__)


async def published(
    registry: JobRegistry, *, instance: Instance, clock: Clock, timezone: str
) -> list[DefinitionRow]:
    """A row for each job; the event loop turns meanwhile. `timezone`: of schedules that name none."""
    slices, found = Slices(clock), []
    # Of a hundred thousand jobs most have a handler in common with others, and say the same for the rest.
    hash_of = lru_cache(maxsize=_MOST_ALIKE)(content_hash)
    for number, job in enumerate(registry):
        if number % _TOGETHER == 0:
            await slices.pause()
        found.append(_row(job, instance, timezone, hash_of))
    return found


def _row(job: JobDefinition, instance: Instance, timezone: str, hash_of: Callable[..., str]) -> DefinitionRow:
    schema, objective, handler = _schema(job), job.objective, job.handler_name
    policy = job.backfill_policy.value if job.stateful else None
    promised = _NONE_PROMISED if objective == _NO_OBJECTIVE else str(objective)
    return DefinitionRow(
        job_id=job.job_id,
        app=instance.app,
        handler=handler,
        stateful=job.stateful,
        backfill_policy=policy,
        config_schema=schema,
        content_hash=hash_of(instance.app, handler, str(job.stateful), policy, schema, promised, timezone),
        instance_id=instance.instance_id,
        data_within_s=objective.data_within_s,
        start_within_s=objective.start_within_s,
        finish_within_s=objective.finish_within_s,
        timezone=timezone,
    )


def _schema(job: JobDefinition) -> str | None:
    """The JSON Schema of the job's config; None without a model that JSON can express.

    The job runs without: its model checks each config at reconcile and at run. Only what is checked without
    the code, at `kubectl apply` and by `piko validate --dsn`, goes unchecked.
    """
    if job.schema is None:
        return None
    try:
        schema = json.dumps(job.schema.model_json_schema(), sort_keys=True, allow_nan=False)
    except BaseException as error:  # noqa: BLE001 - schema hooks are somebody's code
        _warn(job, error_text(error))
        return None
    if len(schema) > _LONGEST_SCHEMA:
        _warn(job, f"it has {len(schema)} characters; expected {_LONGEST_SCHEMA} at most")
        return None
    return schema


def _warn(job: JobDefinition, why: str) -> None:
    log.warning(
        "schema_not_published",
        job_id=job.job_id,
        model=getattr(job.schema, "__qualname__", None),
        error=why,
        remedy="configs of this job are checked by its replicas alone; annotate the field with "
        "pydantic.WithJsonSchema to have them checked at `kubectl apply` too",
    )
