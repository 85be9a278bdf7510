"""Running a job once by the annotation `piko.dev/trigger` of its schedule. Pure.

Each value is acted on once, over any number of restarts. What was acted on stands in the status of the
resource, so a restart finds nothing to do. An operator that is killed before it has written that leaves the
run: its id is made from the resource and the value, so the next operator asks for the same run, which the
database keeps once. The uid of the resource is no part of it: one that comes back from a backup asks for
nothing again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from piko.text import instant_text
from piko_operator.ownership import Condition

TRIGGER = "piko.dev/trigger"
LONGEST_VALUE = 256
"""Characters of a value in the status; a longer one is shown by its beginning and a hash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerAnswer:
    """What was done about a value: a run that is due at `due`, or `refusal` says why there is none."""

    value: str
    at: datetime
    run_id: str | None = None
    due: datetime | None = None
    refusal: str | None = None


def shown(value: str) -> str:
    """`value` as status and change log have it: bounded, and different for different values."""
    if len(value) <= LONGEST_VALUE:
        return value
    digest = _digest(value)
    return f"{value[: LONGEST_VALUE - len(digest) - 1]}…{digest}"


def is_answered(status: Mapping[str, Any], value: str) -> bool:
    """Whether the status says that `value` was acted on or refused."""
    known = status.get("trigger")
    return isinstance(known, Mapping) and known.get("value") == shown(value)


def run_id_of(owner: str, value: str) -> str:
    """The id of the run that `value` asks for at the resource `owner`."""
    return _digest(owner.rpartition("/")[0], value)


def reported(answer: TriggerAnswer) -> dict[str, Any]:
    """The answer as the status has it."""
    values = {
        "value": answer.value,
        "time": instant_text(answer.at),
        "runId": answer.run_id,
        "scheduledTime": None if answer.due is None else instant_text(answer.due),
        "refusal": answer.refusal,
    }
    return {name: value for name, value in values.items() if value is not None}


def triggered(answer: Mapping[str, Any]) -> Condition:
    """Whether the last value was acted on, from what the status has of it."""
    asked = f"{TRIGGER}={answer.get('value', '')!r}"
    if "refusal" in answer:
        message = f"{asked} was not acted on, and is not looked at again: {answer['refusal']}"
        return Condition(type="Triggered", status="False", reason="Refused", message=message)
    message = (
        f"run {answer.get('runId', '?')} was queued for {answer.get('scheduledTime', '?')}, as {asked} asks"
    )
    return Condition(type="Triggered", status="True", reason="Queued", message=message)


def _digest(*parts: str) -> str:
    """32 hex digits."""
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()
