"""Why a job does not run, or what happened to one of its due times: once for the command line, API and page.

What is known of a due time is its runs, and the rows of due times that were left out together. Where there is
neither, the schedule says whether the instant is a due time at all, `change_log` whether the job was paused
then, and the state of the job what holds it back since. An answer names its kind, so that a program need not
read the sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from piko.core.types import JobStatus, RunState
from piko.errors import PikoError
from piko.schedule import Schedule, schedule_of_row
from piko.store.engine import Database
from piko.store.reports import remedies
from piko.store.reports.fenced_runs import fenced_among
from piko.store.reports.job_troubles import of_job
from piko.store.reports.jobs_in_need import JobInNeed
from piko.store.reports.objectives import Objectives
from piko.store.reports.overview import JobReport, Overview, RunReport, unknown_job
from piko.store.reports.pauses import LoggedPause, pause_at
from piko.store.reports.replicas import ReplicaList
from piko.store.reports.runs import RunFilter, RunList
from piko.store.reports.trouble import Trouble
from piko.store.reports.troubles import leaderless
from piko.text import first_line, instant_text

_STANDS = ("failing", "late", "late_data")
"""Troubles of a job that no single reason names; the others are reasons themselves."""
_NEWEST = 5
_LONGEST = 400


class ReasonKind(StrEnum):
    """Of which kind a reason is: first what happened at a due time, then what holds back every one."""

    RAN = "ran"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"
    FENCED = "fenced"
    RUNNING = "running"
    QUEUED = "queued"
    MISSED = "missed"
    OUT_OF_BOUNDS = "out_of_bounds"
    COALESCED = "coalesced"
    OVERLAP = "overlap"
    SKIPPED = "skipped"
    NOT_DUE = "not_due"
    COMING = "coming"
    NO_RUN = "no_run"
    NO_LEADER = "no_leader"
    PAUSED = "paused"
    UNSEEN = "unseen"
    INVALID = "invalid"
    UNREGISTERED = "unregistered"
    WAITS_FOR_CONFIG = "waits_for_config"
    COMPLETED = "completed"
    NOTED = "noted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One reason in a sentence, what cures it, and the run that it is read from, if any."""

    kind: ReasonKind
    text: str
    remedy: str | None = None
    run: RunReport | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobExplanation:
    """What is known of `job_id` at `at`, None: at present.

    `near` are the due times around an instant; `troubles` say that the job fails or is late at present.
    """

    job_id: str
    at: datetime | None
    now: datetime
    reasons: Sequence[Reason]
    near: Sequence[datetime] = ()
    troubles: Sequence[Trouble] = ()


async def explain_job(
    database: Database, job_id: str, *, at: datetime | None, timezone: str
) -> JobExplanation:
    """Why `job_id` does not run now, or what happened `at` an instant; at most seven statements.

    `timezone`: of a schedule that names none. Raises `NotFoundError`.
    """
    overview = Overview(database=database)
    job = await overview.job(job_id)
    if job is None:
        raise await unknown_job(database, job_id)
    leases, server = await ReplicaList(database=database).leaders()
    held = [
        Reason(kind=ReasonKind.NO_LEADER, text=f"{item.subject}: {item.text}", remedy=item.remedy)
        for item in leaderless(leases)
    ]
    held += _held_back(job)
    if at is None:
        newest = await RunList(database=database).first(RunFilter(job_id=job_id), most=_NEWEST)
        promise = (await Objectives(database=database).read([job_id])).get(job_id)
        troubles = of_job(JobInNeed(job=job, promise=promise), server.now, timezone)
        return JobExplanation(
            job_id=job_id,
            at=None,
            now=server.now,
            reasons=[
                *held,
                *([] if held else _to_come(job, newest, server.now)),
                *(_of_run(run, job) for run in newest),
            ],
            troubles=[item for item in troubles if item.kind in _STANDS],
        )
    schedule = _schedule(job, timezone)
    is_due = schedule is not None and schedule.latest_at(at) == at
    # A range of due times that were left out says nothing of an instant between two of them.
    runs = [run for run in await overview.runs_at(job_id, at) if is_due or run.scheduled_time == at]
    if runs:
        fenced = await fenced_among(database, runs)
        found = [_of_run(run, job, fenced=run.run_id in fenced) for run in runs]
    elif schedule is None:
        text, remedy = "its schedule cannot be used, so nothing is due", remedies.of_invalid_row(job)
        found = [Reason(kind=ReasonKind.INVALID, text=text, remedy=remedy)]
    else:
        pause = await pause_at(database, job_id, at) if is_due and at <= server.now else None
        found = [_without_run(job, schedule, at, now=server.now, pause=pause)]
    near = () if schedule is None else _near(schedule, at)
    return JobExplanation(job_id=job_id, at=at, now=server.now, reasons=[*found, *held], near=near)


def _held_back(job: JobReport) -> list[Reason]:
    """What holds back every due time of the job at present."""
    if not job.enabled:
        until = "" if job.paused_until is None else f" until {_shown(job.paused_until)}"
        text, remedy = f"it is paused{until} (enabled = 0)", f"piko resume {job.job_id}"
        return [Reason(kind=ReasonKind.PAUSED, text=text, remedy=remedy)]
    if job.status is None:
        return [Reason(kind=ReasonKind.UNSEEN, text="no leader has seen the row yet")]
    if job.status != JobStatus.SCHEDULED:
        text = f"it is {job.status}: {job.message or 'no further due time'}"
        kind = _STATUSES.get(JobStatus(job.status), ReasonKind.NOTED)
        return [Reason(kind=kind, text=text, remedy=remedies.of_status(job))]
    return [Reason(kind=ReasonKind.NOTED, text=job.message)] if job.message else []


_STATUSES = {
    JobStatus.INVALID: ReasonKind.INVALID,
    JobStatus.UNREGISTERED: ReasonKind.UNREGISTERED,
    JobStatus.WAITING_FOR_CONFIG: ReasonKind.WAITS_FOR_CONFIG,
    JobStatus.COMPLETED: ReasonKind.COMPLETED,
    JobStatus.DISABLED: ReasonKind.PAUSED,
}


def _to_come(job: JobReport, newest: Sequence[RunReport], now: datetime) -> list[Reason]:
    """With what a job begins that has no runs yet, and when, where nothing holds it back."""
    if newest:
        return []
    text, remedy = "it has no runs yet", None
    if job.next_run_at is None or job.next_run_at <= now:
        return [Reason(kind=ReasonKind.NO_RUN, text=text)]
    text += f": it begins at its next due time, {_shown(job.next_run_at)}"
    if job.stateful and job.last_data_time is not None:
        text += f", with the windows after its watermark, {_shown(job.last_data_time)}"
        remedy = f"piko watermark {job.job_id} INSTANT, another one, runs the windows after that at once"
    return [Reason(kind=ReasonKind.COMING, text=text, remedy=remedy)]


def _without_run(
    job: JobReport, schedule: Schedule, at: datetime, *, now: datetime, pause: LoggedPause | None
) -> Reason:
    """What is known of an instant for which there is no row of `job_run`."""
    if schedule.latest_at(at) != at:
        near = " and ".join(map(_shown, _near(schedule, at))) or "none"
        text = f"{_shown(at)} is no due time within the bounds of its schedule; the nearest: {near}"
        return Reason(kind=ReasonKind.NOT_DUE, text=text)
    if at > now:
        return Reason(kind=ReasonKind.COMING, text=f"{_shown(at)} is a due time that is still to come")
    if pause is not None:
        why = f": {pause.reason}" if pause.reason else ""
        text = (
            f"{_shown(at)} is a due time without a run: {pause.who} had paused it at {_shown(pause.at)}{why}"
        )
        return Reason(kind=ReasonKind.PAUSED, text=text, remedy=remedies.of_pause(job))
    text = f"{_shown(at)} is a due time without a run"
    if at <= job.updated_at:
        text += (
            f": it lies before the last change of the row, at {_shown(job.updated_at)}, or its run was pruned"
        )
    else:
        text += ": no leader has claimed it yet, or its run was deleted"
    return Reason(kind=ReasonKind.NO_RUN, text=text)


def _near(schedule: Schedule, at: datetime) -> list[datetime]:
    around = (schedule.latest_at(at), schedule.next_after(at))
    return [each for each in around if each is not None]


def _schedule(job: JobReport, timezone: str) -> Schedule | None:
    try:
        return schedule_of_row(job, timezone=timezone)
    except PikoError:
        return None


# ---- runs -------------------------------------------------------------------------------------------

_STATES = {
    RunState.SUCCESS: ReasonKind.RAN,
    RunState.FAILED: ReasonKind.FAILED,
    RunState.TIMEOUT: ReasonKind.FAILED,
    RunState.CANCELLED: ReasonKind.CANCELLED,
    RunState.LOST: ReasonKind.LOST,
    RunState.RUNNING: ReasonKind.RUNNING,
    RunState.QUEUED: ReasonKind.QUEUED,
}
_WORDS = (
    (RunState.MISSED, "misfire_grace_s", ReasonKind.MISSED),
    (RunState.MISSED, "max_lookback_s", ReasonKind.OUT_OF_BOUNDS),
    (RunState.MISSED, "backfill_max_windows", ReasonKind.OUT_OF_BOUNDS),
    (RunState.CANCELLED, "its schedule was paused", ReasonKind.PAUSED),
    (RunState.SKIPPED, "coalesced", ReasonKind.COALESCED),
    (RunState.SKIPPED, "overlap_policy", ReasonKind.OVERLAP),
)
"""Words of the error of due times that were left out or taken back, by which the leader says why."""


def kind_of(run: RunReport, *, fenced: bool = False) -> ReasonKind:
    """The kind of what a run says. `fenced`: its instance had lost the right to it."""
    if fenced:
        return ReasonKind.FENCED
    state = RunState(run.state)
    said = (kind for of, word, kind in _WORDS if of is state and word in (run.error or ""))
    otherwise = ReasonKind.MISSED if state is RunState.MISSED else ReasonKind.SKIPPED
    return next(said, _STATES.get(state, otherwise))


_TO_RUN_IT = "; to run what was given up: "
"""Stands before the command in the error of windows that a bound has dropped."""


def _of_run(run: RunReport, job: JobReport, *, fenced: bool = False) -> Reason:
    times = _shown(run.scheduled_time)
    if run.missed_through is not None and run.missed_through != run.scheduled_time:
        times = f"{times} to {_shown(run.missed_through)}"
    error, _, repair = (run.error or "").partition(_TO_RUN_IT)
    why = first_line(error, most=_LONGEST)
    if run.state == RunState.QUEUED:
        why = why or (f"waits until {_shown(run.not_before)}" if run.not_before else "waits for its turn")
    if fenced:
        why += "; another leader had taken over, so what its instance wrote changed nothing"
    text = f"{times}: {run.state}, attempt {run.attempt}{f': {why}' if why else ''}"
    kind = kind_of(run, fenced=fenced)
    remedy = repair or _cure(kind, run, job)
    return Reason(kind=kind, text=text, remedy=remedy, run=run)


def _cure(kind: ReasonKind, run: RunReport, job: JobReport) -> str | None:
    match kind:
        case ReasonKind.MISSED:
            return remedies.of_misfire(job)
        case ReasonKind.OUT_OF_BOUNDS:
            return remedies.of_bound(job, run)
        case ReasonKind.COALESCED:
            return remedies.of_coalescing(job)
        case ReasonKind.OVERLAP:
            return remedies.of_overlap(job)
        case ReasonKind.PAUSED:
            return remedies.of_pause(job)
        case ReasonKind.FENCED:
            return remedies.of_loss(run)
    return f"piko logs {run.run_id}" if run.started_at is not None else None


def _shown(moment: datetime) -> str:
    return instant_text(moment, whole_seconds=True)
