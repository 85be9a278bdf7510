"""States of resources that a GitOps tool may come upon, each with the status that the operator gives it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from piko.core.types import BackfillState
from piko.model.backfills import Backfill
from piko.model.objectives import JobObjective
from piko.model.summaries import ConfigSummary, JobSummary, RevisionSummary
from piko_operator.backfill_report import backfill_status
from piko_operator.ownership import IN_STEP, UNKNOWN_DRIFT, Condition, synced
from piko_operator.records import SyncRecord
from piko_operator.reporting import config_status, schedule_status, unknown_status

NOW = datetime(2026, 1, 1, tzinfo=UTC)
_OWNER = "test/data/any/uid"
_IN_STEP = synced("True", "Synced", "the row matches the resource")
_AWAY = synced("Unknown", "DatabaseUnavailable", "the database is not available; this is retried")
_JOB = JobSummary(
    job_id="any",
    version=1,
    managed_by=_OWNER,
    last_data_time=None,
    completed_at=None,
    updated_at=NOW,
    status="Scheduled",
    message=None,
    observed_version=1,
    next_run_at=NOW + timedelta(hours=1),
    last_run_id=None,
    last_state=None,
    last_scheduled_time=None,
    last_started_at=None,
    last_duration_s=None,
    last_error=None,
    last_success_at=None,
    last_failure_at=None,
    consecutive_failures=0,
    given_up_from=None,
    given_up_to=None,
)
_ROW = ConfigSummary(job_id="any", version=1, managed_by=_OWNER, effective_from=None, updated_at=NOW)
_REVISION = RevisionSummary(
    job_id="any", revision=1, row_version=1, effective_from=None, error=None, created_at=NOW
)
_BACKFILL = Backfill(
    backfill_id="b",
    job_id="any",
    range_start=NOW - timedelta(days=3),
    range_end=NOW,
    schedule_type="cron",
    schedule_expr='"@daily"',
    timezone="UTC",
    next_start=NOW - timedelta(days=3),
    windows_total=3,
)
_DRIFTED = synced("False", "Drifted", "the row was edited: priority is 5 instead of 0")
_EDITED = Condition(type="Drifted", status="True", reason="RowEdited", message=_DRIFTED.message)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A state, and what the tools are to conclude of it.

    - `name`: of the state, and of the object that is in it.
    - `status`: what the operator has written; None if it has not looked yet.
    - `edited`: whether the spec changes after that.
    - `deleted`: whether the object is being deleted, and waits for the operator.
    - `kstatus`: the conclusion of kstatus.
    - `flux`: that of the expressions for Flux, where it is another.
    """

    name: str
    kind: str
    status: Mapping[str, Any] | None
    kstatus: str
    flux: str | None = None
    edited: bool = False
    deleted: bool = False

    @property
    def is_ready(self) -> bool:
        """Whether `kubectl wait --for=condition=Ready` ends at once."""
        return self.kstatus == "Current"


def states() -> list[State]:
    """All of them, of every kind."""
    return [*_of_schedules(), *_of_configs(), *_of_backfills()]


def _of_schedules() -> Iterator[State]:
    def state(name: str, status: Mapping[str, Any] | None, kstatus: str, **further: Any) -> State:
        return State(name=name, kind="PikoSchedule", status=status, kstatus=kstatus, **further)

    scheduled = schedule(_IN_STEP, _JOB)
    yield state("nobody-has-looked", None, "InProgress")
    yield state("row-written", schedule(_IN_STEP, replace(_JOB, status=None)), "InProgress")
    yield state("row-not-seen-yet", schedule(_IN_STEP, replace(_JOB, version=2)), "InProgress")
    yield state("scheduled", scheduled, "Current")
    yield state("scheduled-and-edited", scheduled, "InProgress", edited=True)
    yield state("being-deleted", scheduled, "Terminating", deleted=True)
    yield state("suspended", schedule(_IN_STEP, replace(_JOB, status="Disabled")), "Current")
    yield state("completed", schedule(_IN_STEP, replace(_JOB, status="Completed")), "Current")
    failing = replace(_JOB, last_run_id="r", last_state="FAILED", last_error="it broke")
    yield state("last-run-failed", schedule(_IN_STEP, failing), "Current")
    yield state("data-late", _late(), "Current", flux="InProgress")
    dropped = replace(_JOB, given_up_from=NOW - timedelta(hours=2), given_up_to=NOW)
    yield state("data-given-up", schedule(_IN_STEP, dropped), "Current")
    yield state("drift-observed", schedule(_DRIFTED, _JOB, drifted=_EDITED), "Current")
    invalid = replace(_JOB, status="Invalid", message="cron never fires")
    yield state("invalid", schedule(_IN_STEP, invalid), "Failed")
    for reason in ("Conflict", "InvalidSpec", "NotAllowed", "RowNotManaged", "RowRefused"):
        yield state(f"not-synced-{reason.lower()}", schedule(synced("False", reason, "why")), "Failed")
    for reason in ("Unregistered", "WaitingForConfig"):
        waits = replace(_JOB, status=reason)
        yield state(f"{reason.lower()}-for-a-minute", schedule(_IN_STEP, waits, minutes=1), "InProgress")
        yield state(f"{reason.lower()}-for-an-hour", schedule(_IN_STEP, waits, minutes=60), "Failed")
    for reason in ("ApiRefused", "Failed", "RowBusy"):
        failed = synced("False", reason, "this is retried")
        yield state(f"not-synced-{reason.lower()}", schedule(failed, minutes=1), "InProgress")
        yield state(f"not-synced-{reason.lower()}-for-an-hour", schedule(failed, minutes=60), "Failed")
    taken = synced("Unknown", "ClusterNameTaken", "another cluster has the name")
    yield state("cluster-name-taken-for-an-hour", schedule(taken, minutes=60), "Failed")
    yield state("database-away-from-the-start", away({}), "InProgress")
    yield state("database-away-for-an-hour", away(away({}), minutes=60), "InProgress")
    yield state("database-away-after-scheduled", away(scheduled), "InProgress")
    yield state("database-away-after-stalled", away(schedule(_IN_STEP, invalid)), "InProgress")


def _of_configs() -> Iterator[State]:
    def state(name: str, status: Mapping[str, Any] | None, kstatus: str, **further: Any) -> State:
        return State(name=f"config-{name}", kind="PikoJobConfig", status=status, kstatus=kstatus, **further)

    in_force = config(_IN_STEP, [_REVISION])
    yield state("nobody-has-looked", None, "InProgress")
    yield state("not-seen-yet", config(_IN_STEP, []), "InProgress")
    yield state("in-force", in_force, "Current")
    yield state("in-force-and-edited", in_force, "InProgress", edited=True)
    later = replace(_REVISION, effective_from=NOW + timedelta(days=1))
    yield state("takes-effect-tomorrow", config(_IN_STEP, [later]), "Current", flux="InProgress")
    warned = replace(_REVISION, warning="siz: no such key")
    yield state("with-a-warning", config(_IN_STEP, [warned]), "Current")
    refused = replace(_REVISION, error="size: expected a number")
    yield state("refused-by-the-model", config(_IN_STEP, [refused]), "Failed")
    no_secret = synced("False", "SecretUnavailable", "it does not exist")
    yield state("secret-missing-for-a-minute", config(no_secret, [], minutes=1), "InProgress")
    yield state("secret-missing-for-an-hour", config(no_secret, [], minutes=60), "Failed")
    yield state("conflict", config(synced("False", "Conflict", "why"), []), "Failed")
    yield state("database-away", away({}), "InProgress")
    yield state("database-away-after-in-force", away(in_force), "InProgress")


def _of_backfills() -> Iterator[State]:
    def state(name: str, status: Mapping[str, Any] | None, kstatus: str, **further: Any) -> State:
        return State(name=f"backfill-{name}", kind="PikoBackfill", status=status, kstatus=kstatus, **further)

    yield state("nobody-has-looked", None, "InProgress")
    active = backfill(_IN_STEP, _BACKFILL)
    yield state("active", active, "Current")
    for ended in (BackfillState.PAUSED, BackfillState.SUCCEEDED):
        yield state(ended.lower(), backfill(_IN_STEP, replace(_BACKFILL, state=ended)), "Current")
    for ended in (BackfillState.FAILED, BackfillState.CANCELLED):
        yield state(ended.lower(), backfill(_IN_STEP, replace(_BACKFILL, state=ended)), "Failed")
    yield state("row-deleted", backfill(synced("False", "RowDeleted", "it was deleted"), None), "Failed")
    yield state("not-due", backfill(synced("False", "NotDue", "to has not passed"), None), "InProgress")
    yield state("not-allowed", backfill(synced("False", "NotAllowed", "why"), None), "Failed")
    yield state("database-away", backfill(_AWAY, None), "InProgress")
    yield state("database-away-after-active", backfill(_AWAY, None, before=active), "InProgress")


def backfill(
    found: Condition, row: Backfill | None, *, before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The status of a backfill, after the status `before`."""
    return backfill_status(before or {}, generation=1, found=found, row=row, running=0, now=NOW)


def schedule(
    found: Condition, job: JobSummary | None = None, *, drifted: Condition | None = None, minutes: float = 0
) -> dict[str, Any]:
    """The status of a schedule that has been in a state for some minutes."""
    drifted = drifted or (IN_STEP if found.status == "True" else UNKNOWN_DRIFT)
    record = SyncRecord(generation=1, synced=found, drifted=drifted, schedule="@daily")

    def at(now: datetime, previous: Mapping[str, Any]) -> dict[str, Any]:
        return schedule_status(previous, record, job=job, objective=None, owner=_OWNER, now=now)

    return at(NOW + timedelta(minutes=minutes), at(NOW, {}))


def _late() -> dict[str, Any]:
    record = SyncRecord(generation=1, synced=_IN_STEP, drifted=IN_STEP, schedule="@daily")
    promised = JobObjective(
        job_id="any",
        schedule_type="cron",
        schedule_expr='"@daily"',
        timezone=None,
        start_at=None,
        end_at=None,
        enabled=True,
        stateful=False,
        data_within_s=60,
        start_within_s=None,
        finish_within_s=None,
        created_at=NOW - timedelta(days=3),
        last_data_time=None,
        last_success_at=None,
        cursor_at=None,
    )
    return schedule_status({}, record, job=_JOB, objective=promised, owner=_OWNER, now=NOW)


def config(found: Condition, revisions: list[RevisionSummary], *, minutes: float = 0) -> dict[str, Any]:
    """The status of a config that has been in a state for some minutes."""
    record = SyncRecord(generation=1, synced=found, drifted=IN_STEP if found.status == "True" else None)
    row = _ROW if found.status == "True" else None

    def at(now: datetime, previous: Mapping[str, Any]) -> dict[str, Any]:
        return config_status(previous, record, row=row, revisions=revisions, owner=_OWNER, now=now)

    return at(NOW + timedelta(minutes=minutes), at(NOW, {}))


def away(previous: Mapping[str, Any], *, minutes: float = 0) -> dict[str, Any]:
    """The status while the database is away and something has to be written."""
    record = SyncRecord(generation=1, synced=_AWAY)
    return unknown_status(previous, record, now=NOW + timedelta(minutes=minutes))
