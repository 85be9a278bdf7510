"""`piko why`: why a job does not run, or did not run at an instant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from piko.cli.answers import Dsn, Form, Job, Output, say, show_document
from piko.cli.reads import Reads, with_reads

if TYPE_CHECKING:
    from piko.store.reports.explanations import JobExplanation, Reason

_STANDS = ("failing", "late", "late_data")
"""Troubles of a job that no single reason names; the others are reasons themselves."""
_LONGEST = 400


def why(
    job: Job,
    at: Annotated[
        str | None,
        typer.Argument(
            metavar="[INSTANT]",
            help="A due time in the schedule's zone; default: now.",
            show_default=False,
        ),
    ] = None,
    dsn: Dsn = None,
    output: Form = Output.TEXT,
) -> None:
    """Say why a job does not run now, or did not run at an instant, each reason a line.

    Before the reasons stands whether the job fails or is late. Runs that failed by the same error are one
    line.
    """

    async def read(reads: Reads) -> tuple[JobExplanation, str | None]:
        explained = await reads.explain(job, at)
        asked = explained.at is None and not output.is_document
        return explained, await _summary(reads, explained) if asked else None

    explained, summary = with_reads(dsn, read)
    if output.is_document:
        show_document(explained, output)
        return
    for line in [*([summary] if summary else []), *map(_line, _gathered(explained.reasons))]:
        say(line)


async def _summary(reads: Reads, explained: JobExplanation) -> str | None:
    """Whether the job fails or is late, in one line; None: neither."""
    from piko.store.reports.job_troubles import of_job
    from piko.store.reports.jobs_in_need import JobInNeed

    job_id = explained.job_id
    (job,) = await reads.jobs([job_id])
    zone = (await reads.zones([job_id])).get(job_id, "UTC")
    found = [item for item in of_job(JobInNeed(job=job), explained.now, zone) if item.kind in _STANDS]
    if not found:
        return None
    kinds = ", ".join(item.kind.replace("_", " ") for item in found)
    remedy = next((f"; {item.remedy}" for item in found if item.kind == "failing"), "")
    return f"{kinds}: {'; '.join(item.text for item in found)}{remedy}"


def _gathered(reasons: Sequence[Reason]) -> list[list[Reason]]:
    """The reasons in their order, those that are runs which failed by the same error together."""
    from piko.store.reports.explanations import ReasonKind

    groups: dict[object, list[Reason]] = {}
    for place, reason in enumerate(reasons):
        run = reason.run
        failed = run is not None and reason.kind in (ReasonKind.FAILED, ReasonKind.LOST)
        groups.setdefault((run.state, run.error) if run is not None and failed else place, []).append(reason)
    return list(groups.values())


def _line(alike: Sequence[Reason]) -> str:
    """One reason, or several that are alike, of which the newest run is named first."""
    from piko.text import first_line, instant_text

    text, run = alike[0].text, alike[0].run
    if len(alike) > 1 and run is not None:
        due = [item.run.scheduled_time for item in alike if item.run is not None]
        times = [instant_text(each, whole_seconds=True) for each in sorted({min(due), max(due)})]
        error = first_line(run.error, most=_LONGEST)
        text = f"{' to '.join(times)}: {run.state}, {len(alike)} attempts{f': {error}' if error else ''}"
    return f"{text}; {alike[0].remedy}" if alike[0].remedy else text
