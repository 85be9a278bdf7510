"""The resources of a day: a schedule and a config for each of a hundred jobs, and the code of the jobs."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

JOBS = 100
_LEAVING = 20
"""So many of them, the last ones, are in a namespace that is deleted."""
STAYING_JOBS = range(JOBS - _LEAVING)
LEAVING_JOBS = range(JOBS - _LEAVING, JOBS)
STATEFUL_EVERY = 5
"""Each fifth job processes the data of months."""
_WITH_SECRET_EVERY = 10
SCHEDULE_POLICIES = ("Delete", "Forget", "Retain", "Disable")
CONFIG_POLICIES = ("Delete", "Forget", "Retain")
CONFIG_KEY = "day-config-key"
CODE = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "day"},
    "data": {
        "day.py": f"""
import hashlib

from app import app
from pydantic import BaseModel, SecretStr


class Numbered(BaseModel):
    number: int
    password: SecretStr | None = None


def register(number):
    @app.job(f"day-{{number:03}}", schema=Numbered, stateful=number % {STATEFUL_EVERY} == 0)
    async def numbered(ctx, scheduled_time):
        hidden = ctx.config.password
        digest = hidden and hashlib.sha256(hidden.get_secret_value().encode()).hexdigest()
        return {{"number": ctx.config.number, "digest": digest}}


for number in range({JOBS}):
    register(number)
"""
    },
}


def job(number: int) -> str:
    """The id of a job, which its resources have as name."""
    return f"day-{number:03}"


def secret_of(number: int) -> str | None:
    """The password that the config of the job has from a Secret; None: its config has none."""
    chosen = number in STAYING_JOBS and number % _WITH_SECRET_EVERY == 3
    return (
        f"not-to-be-seen-{number}-{hashlib.sha256(job(number).encode()).hexdigest()[:12]}" if chosen else None
    )


def digest_of(secret: str) -> str:
    """What the run of a job returns of its password."""
    return hashlib.sha256(secret.encode()).hexdigest()


def values(encrypted_with: str) -> dict[str, Any]:
    """Of the chart: the jobs' code, and what configs from Secrets need."""
    return {
        "configKey": {"existingSecret": encrypted_with},
        "operator": {"readSecrets": True},
        "runtime": {
            "args": ["run", "day:app"],
            "env": {"PYTHONPATH": "/day:/app"},
            "extraVolumes": [{"name": "day", "configMap": {"name": "day"}}],
            "extraVolumeMounts": [{"name": "day", "mountPath": "/day", "readOnly": True}],
        },
    }


def manifests(numbers: Iterable[int], *, namespace: str) -> str:
    """The resources of those jobs, and the Secrets that they name."""
    found: list[dict[str, Any]] = []
    for number in numbers:
        found += [_schedule(number), _config(number)]
        if (secret := secret_of(number)) is not None:
            data = {"secret.json": base64.b64encode(json.dumps({"password": secret}).encode()).decode()}
            found.append(
                {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {"name": _secret_name(number)},
                    "data": data,
                }
            )
    for each in found:
        each["metadata"]["namespace"] = namespace
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": found})


def policy(number: int, policies: tuple[str, ...]) -> str:
    """The deletion policy of a job's resource; what stays has the default."""
    return policies[number % len(policies)] if number in LEAVING_JOBS else "Delete"


def due_before(now: datetime, *, months: int = 0) -> datetime:
    """The last due time of the stateful jobs at `now`, or the one so many months before it."""
    month = now.year * 12 + now.month - 1 - months - ((now.day, now.hour) < (3, 3))
    return datetime(month // 12, month % 12 + 1, 3, 3, tzinfo=UTC)


def _schedule(number: int) -> dict[str, Any]:
    spec: dict[str, Any] = {"jobId": job(number), "schedule": _due(number)}
    return _resource("PikoSchedule", number, spec, SCHEDULE_POLICIES)


def _due(number: int) -> dict[str, Any]:
    """None of them is due while somebody looks, but in two short moments of a day."""
    if number % STATEFUL_EVERY == 0:
        return {"cron": "0 3 3 * *"}
    return {"interval": {"every": "1d12h"}} if number % 7 == 1 else {"cron": "30 4 * * *"}


def _config(number: int) -> dict[str, Any]:
    spec: dict[str, Any] = {"jobId": job(number), "config": {"number": number}}
    if secret_of(number) is not None:
        spec["configFrom"] = [{"secretKeyRef": {"name": _secret_name(number), "key": "secret.json"}}]
    return _resource("PikoJobConfig", number, spec, CONFIG_POLICIES)


def _secret_name(number: int) -> str:
    return f"{job(number)}-config"


def _resource(kind: str, number: int, spec: dict[str, Any], policies: tuple[str, ...]) -> dict[str, Any]:
    if number in LEAVING_JOBS:
        spec["deletionPolicy"] = policy(number, policies)
    return {"apiVersion": "piko.dev/v1", "kind": kind, "metadata": {"name": job(number)}, "spec": spec}
