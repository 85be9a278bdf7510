"""The conditions of a resource: pure, from the records of the mirror and the summaries of the runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from piko.model.revisions import revision_in_force
from piko.model.summaries import ConfigSummary, JobSummary, RevisionSummary
from piko.text import excerpt, instant_text
from piko_operator.ownership import Condition
from piko_operator.shapes import parse_instant

MESSAGE_LIMIT = 4096
"""Bytes of a message in a status; every watcher receives the whole resource."""

_ABNORMAL = frozenset({"Stalled", "Reconciling", "Drifted", "DataGivenUp"})
"""Conditions of what is out of order: written only while they are not False, as kstatus has it."""
_READY = frozenset({"Scheduled", "Disabled", "Completed"})
"""Job statuses of a schedule that is in order, even if it does not fire."""
NEEDS_EDIT = frozenset(
    {"Conflict", "Invalid", "InvalidSpec", "NotAllowed", "RowNotManaged", "RowRefused", "SecretUnreadable"}
)
"""Reasons that only an edit by a person can resolve."""
AWAY = "DatabaseUnavailable"
"""The reason while nothing can be known: no condition becomes False because of it."""
_SETTLE = timedelta(minutes=5)
"""How long any other reason may still resolve itself: code being deployed, a Secret about to be applied."""

_DEFAULT_MESSAGES = {
    "Scheduled": "a replica has the job and the schedule is valid",
    "Disabled": "the schedule is suspended",
    "Completed": "the schedule has no further due time",
    "Invalid": "the runtime cannot use the row",
    "Unregistered": "no replica has registered this job; deploy the code that registers it, or correct jobId",
    "WaitingForConfig": "the job's model has required fields and no config is in force",
}


def ready(synced: Condition, job: JobSummary | None) -> Condition:
    """Whether a replica has the job and the schedule is valid; True too if it is suspended or finished."""
    if synced.status == "Unknown":
        return Condition(type="Ready", status="Unknown", reason=synced.reason, message=synced.message)
    if synced.status != "True" and synced.reason != "Drifted":
        return _unsynced("Ready", "False")
    if job is None or job.status is None:
        message = "no replica has seen this row yet"
        return Condition(type="Ready", status="Unknown", reason="Pending", message=message)
    if job.observed_version is not None and job.observed_version != job.version:
        message = (
            f"no replica has seen version {job.version} of this row yet; "
            f"the last version seen is {job.observed_version}"
        )
        return Condition(type="Ready", status="Unknown", reason="Pending", message=message)
    return Condition(
        type="Ready",
        status="True" if job.status in _READY else "False",
        reason=job.status,
        message=job.message or _DEFAULT_MESSAGES.get(job.status, job.status),
    )


def config_ready(synced: Condition, valid: Condition, effective: Condition) -> Condition:
    """Whether runs use the config, or will from its effective time on."""
    if synced.status == "Unknown":
        return Condition(type="Ready", status="Unknown", reason=synced.reason, message=synced.message)
    if synced.status != "True" and synced.reason != "Drifted":
        return _unsynced("Ready", "False")
    decisive = effective if valid.status == "True" else valid
    return Condition(type="Ready", status=valid.status, reason=valid.reason, message=decisive.message)


def outlook(
    synced: Condition, ready: Condition, *, previous: object, now: datetime
) -> tuple[Condition, Condition]:
    """The conditions `Stalled` (a person has to act) and `Reconciling` (in progress), as in kstatus."""
    cause = ready if synced.status == "True" or synced.reason == "Drifted" else synced
    if cause.reason == AWAY:
        unknown = Condition(type="Stalled", status="Unknown", reason=cause.reason, message=cause.message)
        return unknown, _reconciling(cause, holds=True)
    if ready.status == "True":
        return _stalled(cause, holds=False), _reconciling(cause, holds=False)
    since = _not_ready_since(previous, ready, now)
    stuck = cause.reason in NEEDS_EDIT or (cause.reason != "Pending" and now - since >= _SETTLE)
    return _stalled(cause, holds=stuck), _reconciling(cause, holds=not stuck)


def _stalled(cause: Condition, *, holds: bool) -> Condition:
    message = cause.message if holds else "no action by a person is needed"
    return Condition(type="Stalled", status=str(holds), reason=cause.reason, message=message)


def _reconciling(cause: Condition, *, holds: bool) -> Condition:
    message = cause.message if holds else "nothing is in progress"
    return Condition(type="Reconciling", status=str(holds), reason=cause.reason, message=message)


def _not_ready_since(previous: object, ready: Condition, now: datetime) -> datetime:
    for item in previous if isinstance(previous, list) else []:
        if item["type"] == "Ready" and item["status"] == ready.status:
            return parse_instant(item["lastTransitionTime"])
    return now


def given_up(job: JobSummary | None) -> Condition:
    """Whether a limit on the backlog has dropped data that has not been requested since."""
    if job is None or job.given_up_from is None or job.given_up_to is None:
        message = "no limit on the backlog has dropped data"
        return Condition(type="DataGivenUp", status="False", reason="Nothing", message=message)
    start, end = instant_text(job.given_up_from), instant_text(job.given_up_to)
    message = (
        f"data from {start} to {end} was dropped by backfill.maxLookback or backfill.maxWindows; "
        f"to run it: piko backfill {job.job_id} --from {start} --to {end}"
    )
    return Condition(type="DataGivenUp", status="True", reason="BeyondBound", message=message)


def revision_conditions(
    synced: Condition, row: ConfigSummary | None, revisions: Sequence[RevisionSummary], now: datetime
) -> list[Condition]:
    """The conditions `Valid` and `Effective` of the config in the row."""
    if synced.status != "True" and synced.reason != "Drifted":
        return [_unsynced("Valid", "Unknown"), _unsynced("Effective", "Unknown")]
    current = [item for item in revisions if row is not None and item.row_version == row.version]
    if not current:
        message = "no replica has seen this row yet"
        return [
            Condition(type="Valid", status="Unknown", reason="Pending", message=message),
            Condition(type="Effective", status="Unknown", reason="Pending", message=message),
        ]
    latest, in_force = current[-1], effective_revision(revisions, now)
    stays = f"revision {in_force} stays in force" if in_force is not None else "no revision is in force yet"
    if latest.error is not None:
        return [
            Condition(type="Valid", status="False", reason="Invalid", message=latest.error),
            Condition(type="Effective", status="False", reason="Invalid", message=stays),
        ]
    accepted = "the job's own model accepts it"
    valid = Condition(type="Valid", status="True", reason="Valid", message=accepted)
    if latest.warning is not None:
        text = f"{accepted}, with a warning: {latest.warning}"
        valid = Condition(type="Valid", status="True", reason="Warning", message=text)
    if in_force == latest.revision:
        message = f"runs use revision {in_force}"
        return [valid, Condition(type="Effective", status="True", reason="InForce", message=message)]
    when = f"from {instant_text(latest.effective_from)}" if latest.effective_from else "soon"
    message = f"revision {latest.revision} takes effect {when}; until then {stays}"
    return [valid, Condition(type="Effective", status="False", reason="Waiting", message=message)]


def effective_revision(revisions: Sequence[RevisionSummary], now: datetime) -> int | None:
    """The revision that runs use."""
    found = revision_in_force(revisions, now)
    return None if found is None else found.revision


def merge_conditions(
    previous: object, found: Sequence[Condition], generation: int, now: datetime
) -> list[dict[str, Any]]:
    """`previous` updated with `found`; a transition time changes only with its status.

    What is False of the conditions that say what is out of order is left out. Ten thousand resources are in
    order most of the time, and each condition costs the API server at every write of each.
    """
    known = {item["type"]: dict(item) for item in previous} if isinstance(previous, list) else {}
    for condition in found:
        before = known.get(condition.type, {})
        moved = before.get("status") != condition.status
        known[condition.type] = {
            "type": condition.type,
            "status": condition.status,
            "reason": condition.reason,
            "message": excerpt(condition.message, limit=MESSAGE_LIMIT),
            "lastTransitionTime": instant_text(now.replace(microsecond=0))
            if moved
            else before["lastTransitionTime"],
            "observedGeneration": generation,
        }
    return [item for item in known.values() if item["type"] not in _ABNORMAL or item["status"] != "False"]


def true_conditions(status: Mapping[str, Any]) -> frozenset[str]:
    """The types of the conditions that are True."""
    return _shared(
        frozenset(
            str(item.get("type")) for item in status.get("conditions") or [] if item.get("status") == "True"
        )
    )


@lru_cache(maxsize=256)
def _shared(conditions: frozenset[str]) -> frozenset[str]:
    """The first of equal ones: thousands of resources have the same few."""
    return conditions


def merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON merge patch from `old` to `new`; empty if they are equal."""
    patch: dict[str, Any] = {name: None for name in old if name not in new}
    for name, value in new.items():
        before = old.get(name)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            if inner := merge_patch(before, value):
                patch[name] = inner
        elif before != value:
            patch[name] = value
    return patch


def _unsynced(name: str, status: str) -> Condition:
    return Condition(type=name, status=status, reason="NotSynced", message="see the condition Synced")
