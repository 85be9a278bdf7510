"""What cures what is wrong with a job: once for troubles and explanations. Pure.

A field of the schedule is set where its row is written: in the row, or at the resource that owns it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from piko.core.types import JobStatus
from piko.store.reports.overview import JobReport, RunReport
from piko.text import instant_text


def of_status(job: JobReport) -> str | None:
    """What to do about the status of `job`; None: nothing is to be done."""
    match job.status:
        case JobStatus.INVALID:
            return of_invalid_row(job)
        case JobStatus.UNREGISTERED:
            return "deploy a replica with the code of the job, or pause it"
        case JobStatus.WAITING_FOR_CONFIG:
            return "apply a PikoJobConfig, or write its row of job_config"
        case JobStatus.COMPLETED:
            return "change its schedule"
        case JobStatus.DISABLED:
            return f"piko resume {job.job_id}"
    return None


def of_invalid_row(job: JobReport) -> str:
    """What repairs an invalid row: its resource, if it has one."""
    parts = (job.managed_by or "").split("/")
    if len(parts) != 4:
        return f"piko edit {job.job_id} --set FIELD=VALUE (--dry-run shows the next due time)"
    if parts[0] == "dev":
        return f"edit the resource file of {parts[2]}"
    return f"kubectl edit pikoschedule {parts[2]} -n {parts[1]}"


def of_misfire(job: JobReport) -> str:
    """What to do about a due time that was later than its grace."""
    later = _set(job, "misfire_grace_s=SECONDS", {"misfireGrace": "DURATION"})
    return f"{_once(job)}; {later} lets later ones start"


def of_bound(job: JobReport, run: RunReport) -> str:
    """What to do about windows that a bound of the backlog dropped, where the run itself does not say it."""
    start, end = run.window_start or run.scheduled_time, run.missed_through or run.scheduled_time
    return f"piko backfill {job.job_id} --from {instant_text(start)} --to {instant_text(end)}"


def of_coalescing(job: JobReport) -> str:
    """What to do about a due time that the next one stood for."""
    return f"{_set(job, 'coalesce=false', {'coalesce': False})} has each due time run"


def of_overlap(job: JobReport) -> str:
    """What to do about a due time that met a run in progress."""
    waits = _set(job, "overlap_policy=queue_all", {"overlap": {"policy": "QueueAll"}})
    return f"{waits} has each due time wait for its turn; {_once(job)}"


def of_pause(job: JobReport) -> str:
    """What to do about a due time of a pause."""
    return f"due times of a pause are not made up; {_once(job)}"


def of_loss(run: RunReport) -> str:
    """What to do about a run that was lost with its instance."""
    return f"piko runs retry {run.run_id} runs it again, unless an attempt after it has succeeded"


def _once(job: JobReport) -> str:
    if job.stateful:
        return f"piko trigger {job.job_id} --window INSTANT runs the window that begins then"
    return f"piko trigger {job.job_id} runs it once, now"


def _set(job: JobReport, column: str, spec: Mapping[str, object]) -> str:
    """What sets a column of the row; `spec` says the same of its resource."""
    match (job.managed_by or "").split("/"):
        case ["dev", _, name, _]:
            return f"{json.dumps(spec)} in spec of the resource file of {name}"
        case [_, namespace, name, _]:
            patch = json.dumps({"spec": spec})
            return f"kubectl patch pikoschedule {name} -n {namespace} --type merge -p '{patch}'"
        case _:
            return f"piko edit {job.job_id} --set {column}"
