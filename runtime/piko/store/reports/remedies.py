"""What makes a job run again that cannot run, by its status: once for troubles and explanations. Pure."""

from __future__ import annotations

from piko.core.types import JobStatus
from piko.store.reports.overview import JobReport


def of_status(job: JobReport) -> str | None:
    """What to do about the status of `job`; None: nothing is to be done."""
    match job.status:
        case JobStatus.INVALID:
            return _repair(job)
        case JobStatus.UNREGISTERED:
            return "deploy a replica with the code of the job, or pause it"
        case JobStatus.WAITING_FOR_CONFIG:
            return "apply a PikoJobConfig, or write its row of job_config"
        case JobStatus.COMPLETED:
            return "change its schedule"
        case JobStatus.DISABLED:
            return f"piko resume {job.job_id}"
    return None


def _repair(job: JobReport) -> str:
    """What repairs an invalid row: its resource, if it has one."""
    parts = (job.managed_by or "").split("/")
    if len(parts) != 4:
        return f"piko edit {job.job_id} --set FIELD=VALUE (--dry-run shows the next due time)"
    if parts[0] == "dev":
        return f"edit the resource file of {parts[2]}"
    return f"kubectl edit pikoschedule {parts[2]} -n {parts[1]}"
