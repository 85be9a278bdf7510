"""What the facts of an installation mean: one sentence for each trouble, and what cures it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from piko.core.types import JobStatus
from piko.errors import PikoError
from piko.model.objectives import JobObjective, broken, deadlines
from piko.model.troubles import ReportedTrouble
from piko.schedule import parse_schedule
from piko.store.reports.attention import UNABLE, Facts, JobInNeed, RefusedRun, RunName
from piko.store.reports.jobs import JobCounts
from piko.store.reports.overview import LATE_S, JobReport
from piko.store.reports.replicas import LeaseReport, OperatorReport, ReplicaReport, ServerReport
from piko.store.reports.runs import RunCounts
from piko.text import span


@dataclass(frozen=True, slots=True, kw_only=True)
class Concern:
    """One trouble: of which kind, whose, in one sentence, since when, and what to do.

    `job_id` and `managed_by` are those of a job, and `error` is the first line of what it said last.
    """

    kind: str
    subject: str
    text: str
    remedy: str
    since: datetime | None = None
    job_id: str | None = None
    managed_by: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallationReport:
    """The whole installation, and every trouble of it; `well` if there is none."""

    well: bool
    now: datetime
    server: ServerReport
    leaders: Sequence[LeaseReport]
    replicas: Sequence[ReplicaReport]
    jobs: JobCounts
    runs: RunCounts
    findings: Sequence[Concern]


def report(facts: Facts, *, timezone: str) -> InstallationReport:
    """What `facts` say and mean. `timezone`: of schedules that name none."""
    found = findings(facts, timezone=timezone)
    return InstallationReport(
        well=not found,
        now=facts.now,
        server=facts.server,
        leaders=facts.leaders,
        replicas=facts.replicas,
        jobs=facts.jobs,
        runs=facts.runs,
        findings=found,
    )


def findings(facts: Facts, *, timezone: str) -> list[Concern]:
    """Every trouble, what concerns all jobs first. `timezone`: of schedules that name none."""
    found = [
        *_of_leaders(facts.leaders),
        *_of_replicas(facts.replicas, facts.left),
        *_of_operators(facts.server.operators),
    ]
    for need in facts.needs:
        found += _of_job(need, facts.now)
    promised = {item.job_id for item in facts.promised}
    for job in facts.behind:
        if job.job_id not in promised:  # else its objective says when its data is late
            found += _of_data(job, facts.now, timezone)
    broken_ones = [each for item in facts.promised for each in _of_objective(item, facts.now, timezone)]
    said = {item.subject for item in broken_ones}
    found = [item for item in found if item.kind != "late" or item.subject not in said] + broken_ones
    found += [_of_refusal(refusal) for refusal in facts.refused]
    return found


def _of_leaders(leases: Sequence[LeaseReport]) -> list[Concern]:
    remedy = "`piko run MODULE:APP` starts a replica; /readyz of those that run says why they do not lead"
    if not leases:
        return [Concern(kind="no_leader", subject="leader", text="no replica has led yet", remedy=remedy)]
    return [
        Concern(
            kind="no_leader",
            subject=f"leader {lease.name!r}",
            text="the last leader released its lease, and no replica has taken it"
            if lease.holder is None
            else f"the lease of {lease.holder_host or lease.holder} expired, and no replica has taken it",
            remedy=remedy,
            since=lease.renewed_at if lease.holder is None else lease.expires_at,
        )
        for lease in leases
        if not lease.leads
    ]


def _of_replicas(replicas: Sequence[ReplicaReport], left: Mapping[str, Sequence[RunName]]) -> list[Concern]:
    found = []
    for replica in replicas:
        if replica.silent:
            found.append(_of_silent(replica, left.get(replica.instance_id, ())))
        elif replica.stopped_at is None:
            found += [_reported(item, replica.host) for item in replica.troubles]
    return found


def _of_silent(replica: ReplicaReport, runs: Sequence[RunName]) -> Concern:
    """A replica that was killed says nothing either; then others take its runs."""
    text = "it sends no heartbeats: it was killed, cannot reach the database, or its event loop is blocked"
    remedy = f"its log says which (`event_loop_blocked` names the job); kubectl delete pod {replica.host}"
    if runs:
        text += f"; in progress there: {', '.join(f'{run.job_id} ({run.run_id})' for run in runs)}"
        remedy += f"; piko pause {runs[0].job_id} if it blocks"
    return Concern(
        kind="silent_replica",
        subject=f"replica {replica.host}",
        text=text,
        remedy=remedy,
        since=replica.heartbeat_at,
    )


def _reported(trouble: ReportedTrouble, host: str) -> Concern:
    """What a replica on `host` says of itself."""
    of_job = trouble.kind == "blocked_loop" and not trouble.subject.startswith("replica ")
    remedies = {
        "not_ready": "it is ready again by itself once the reason has ended; its log has more",
        "sink_stuck": "repair what the sink writes to; what waits is kept and delivered then",
        "dead_letters": "piko spool list shows each with its error; repair the sink, then "
        f"piko spool replay or drop (in a cluster: kubectl exec {host} -- piko spool list)",
        "blocked_loop": "let it await, or use asyncio.to_thread or app.cpu_manager"
        + (f"; until then: piko pause {trouble.subject}" if of_job else ""),
    }
    return Concern(
        kind=trouble.kind,
        subject=trouble.subject or f"replica {host}",
        text=trouble.text if trouble.kind == "not_ready" else f"{trouble.text} (on {host})",
        remedy=remedies.get(trouble.kind, f"see the log of {host}"),
        since=trouble.since,
        job_id=trouble.subject if of_job else None,
    )


def _of_operators(operators: Sequence[OperatorReport]) -> list[Concern]:
    found = []
    for operator in operators:
        if operator.silent:
            found.append(
                Concern(
                    kind="silent_operator",
                    subject=f"operator of {operator.cluster}",
                    text="it sends no heartbeats: changed resources do not reach the database",
                    remedy="kubectl get pods -A -l app.kubernetes.io/component=operator; its log says why",
                    since=operator.heartbeat_at,
                )
            )
        found += [_of_resource(item, operator.cluster) for item in operator.troubles]
    return found


def _of_resource(trouble: ReportedTrouble, cluster: str) -> Concern:
    """What the operator says of a resource, whose name is its kind, namespace and name."""
    kind, _, place = trouble.subject.partition(" ")
    namespace, _, name = place.partition("/")
    resource = f"{kind.lower()} {name} -n {namespace}"
    remedy = f"kubectl describe {resource}"
    if trouble.kind == "drift":
        enforce = '{"spec":{"driftPolicy":"Enforce"}}'
        remedy = f"kubectl patch {resource} --type merge -p '{enforce}' puts the row back"
    return Concern(
        kind=trouble.kind,
        subject=trouble.subject,
        text=f"{trouble.text} (cluster {cluster})",
        remedy=remedy,
        since=trouble.since,
    )


_STATUSES = {
    JobStatus.INVALID: ("invalid", "repair the row or its resource"),
    JobStatus.UNREGISTERED: ("unregistered", "deploy a replica with the code of the job, or pause it"),
    JobStatus.WAITING_FOR_CONFIG: ("waits_for_config", "apply a config"),
}


def _of_job(need: JobInNeed, now: datetime) -> list[Concern]:
    job, found = need.job, []
    if job.enabled and job.status in UNABLE:
        kind, remedy = _STATUSES[JobStatus(job.status)]
        text = _first_line(job.message) or "it cannot run"
        remedy = f"{remedy}; piko why {job.job_id}"
        found.append(_job_concern(job, kind, text, remedy, job.updated_at))
    elif job.is_failing:
        text, error = _failures(job, now), _first_line(job.last_error) or "no error was recorded"
        found.append(
            _job_concern(job, "failing", text, f"piko logs {job.job_id}", job.last_success_at, error=error)
        )
    elif job.is_late(now) and job.next_run_at is not None:
        ago = span((now - job.next_run_at).total_seconds())
        text = f"it was due {ago} ago and has not started"
        found.append(_job_concern(job, "late", text, f"piko why {job.job_id}", job.next_run_at))
    if need.given_up_to is not None:
        text = "a bound of its backlog has dropped data"
        found.append(
            _job_concern(job, "data_dropped", text, f"piko jobs {job.job_id}", since=need.given_up_to)
        )
    if need.missing is not None:
        text = f"its row belongs to the resource {need.missing}, which no longer exists"
        remedy = "apply the resource again, or the operator removes the row after a day"
        found.append(_job_concern(job, "resource_missing", text, remedy, need.missing_since))
    return found


def _job_concern(
    job: JobReport, kind: str, text: str, remedy: str, since: datetime | None, *, error: str | None = None
) -> Concern:
    """The trouble of one `job`; the other parameters are those of `Concern`."""
    return Concern(
        kind=kind,
        subject=job.job_id,
        text=text,
        remedy=remedy,
        since=since,
        job_id=job.job_id,
        managed_by=job.managed_by,
        error=error,
    )


def _failures(job: JobReport, now: datetime) -> str:
    failures = job.consecutive_failures or 0
    text = "the last run failed" if failures == 1 else f"{failures} runs in a row failed"
    if job.last_success_at is None:
        text += "; it has never succeeded"
    return f"{text}, and the next one is late" if job.is_late(now) else text


def _of_data(job: JobReport, now: datetime, timezone: str) -> list[Concern]:
    since = _late_since(job, now, timezone)
    if since is None:
        return []
    text, remedy = "its data is more than one window behind", f"piko why {job.job_id}"
    return [_job_concern(job, "late_data", text, remedy, since)]


def _of_objective(job: JobObjective, now: datetime, timezone: str) -> list[Concern]:
    late = next((due for due in deadlines(job, timezone=timezone) if due.at <= now), None)
    if late is None:
        return []
    text, remedy = broken(job, late), f"piko why {job.job_id}"
    return [
        Concern(kind="late", subject=job.job_id, text=text, remedy=remedy, since=late.at, job_id=job.job_id)
    ]


def _late_since(job: JobReport, now: datetime, timezone: str) -> datetime | None:
    """Since when the data of a stateful job is late by more than a window; None: it is not."""
    if job.last_data_time is None:
        return None
    try:
        schedule = parse_schedule(
            job_id=job.job_id,
            schedule_type=job.schedule_type,
            schedule_expr=job.schedule_expr,
            timezone=job.timezone or timezone,
            start_at=job.start_at,
            end_at=job.end_at,
        )
    except PikoError:
        return None  # the status of the job says so
    coming = schedule.next_two_after(job.last_data_time)
    return coming[1] if coming is not None and (now - coming[1]).total_seconds() > LATE_S else None


def _of_refusal(refusal: RefusedRun) -> Concern:
    return Concern(
        kind="records_refused",
        subject=refusal.job_id,
        text=refusal.text,
        remedy=f"piko spool list --run {refusal.run_id}, on its replica; a run without any ends this",
        since=refusal.finished_at,
        job_id=refusal.job_id,
    )


def _first_line(text: str | None) -> str:
    """The line of an error that says the most: the last one of a traceback, else the first."""
    lines = (text or "").strip().splitlines() or [""]
    return (lines[-1] if lines[0].startswith("Traceback (most recent call last)") else lines[0]).strip()
