"""Chooses the events to post: pure, from the status before and after. One event per change of state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from piko.core.types import FAILED_STATES
from piko_operator.ownership import Notice
from piko_operator.trigger_annotation import triggered

_SILENT = frozenset({"ClusterNameTaken", "ClusterUnidentified", "DatabaseUnavailable", "NotSynced"})
"""Reasons that concern all resources and not one of them."""
_REPEATED = frozenset({"InvalidSpec", "Invalid", "BeyondBound"})
"""Reasons whose event is posted again when the message changes."""
_EXPECTED = {"Synced": "True", "Valid": "True", "DataGivenUp": "False", "Fresh": "True"}
"""The expected status of each condition that events are posted for."""
_INVALID_CONFIG = "the job's own model refuses the config; see the condition Valid"


def news_of(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Notice]:
    """The events for the changes from `before` to `after`."""
    return [*_of_conditions(before, after), *_of_runs(before, after), *_of_triggers(before, after)]


def _of_conditions(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Notice]:
    earlier, current = _by_type(before), _by_type(after)
    for kind, expected in _EXPECTED.items():
        now, then = current.get(kind), earlier.get(kind, {})
        if now is None or now["reason"] in _SILENT or now["status"] == "Unknown":
            continue
        was_bad = bool(then) and then["status"] not in (expected, "Unknown") and then["reason"] not in _SILENT
        if now["status"] == expected:
            if was_bad and kind != "DataGivenUp":
                yield Notice(type="Normal", reason=now["reason"], message=now["message"])
            continue
        is_new = not was_bad or then["reason"] != now["reason"]
        if is_new or (now["reason"] in _REPEATED and then["message"] != now["message"]):
            if kind == "Valid":  # its message may show config values, and more people can read events
                yield Notice(type="Warning", reason="InvalidConfig", message=_INVALID_CONFIG)
            else:
                reason = kind if kind == "DataGivenUp" else now["reason"]
                yield Notice(type="Warning", reason=reason, message=now["message"])


def _of_runs(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Notice]:
    failures, failures_before = after.get("consecutiveFailures"), before.get("consecutiveFailures") or 0
    last = after.get("lastRun") or {}
    if failures is None or bool(failures) == bool(failures_before):
        return
    if not failures:
        message = f"{_what(last)} ended {last.get('state', '?')}, after {failures_before} that failed"
        yield Notice(type="Normal", reason="JobRecovered", message=message)
        return
    runs = [last, *(after.get("recentRuns") or [])]
    run = next((run for run in runs if run.get("state") in FAILED_STATES), last)
    why = f": {run['message'].splitlines()[0]}" if run.get("message") else ""  # not the traceback
    message = f"{_what(run)} ended {run.get('state', '?')}{why}"
    yield Notice(type="Warning", reason="JobFailed", message=message)


def _what(run: Mapping[str, Any]) -> str:
    return f"run {run.get('runId', '?')} of {run.get('scheduledTime', 'no scheduled time')}"


def _of_triggers(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Notice]:
    then, now = before.get("trigger") or {}, after.get("trigger") or {}
    if now.get("value") == then.get("value"):
        return
    condition = triggered(now)
    if condition.status == "True":
        yield Notice(type="Normal", reason="Triggered", message=condition.message)
    else:
        yield Notice(type="Warning", reason="TriggerRefused", message=condition.message)


def _by_type(status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    conditions = status.get("conditions")
    return {item["type"]: item for item in conditions} if isinstance(conditions, list) else {}
