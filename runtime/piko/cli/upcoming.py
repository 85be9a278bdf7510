"""`piko next`: the next due times of a schedule, and remarks on anything surprising about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from piko.cli.answers import Dsn, Form, Output, Zone, instant, is_job_id, offline_zone, show_document, stamp
from piko.cli.reads import Reads, with_reads
from piko.errors import RefusedError

if TYPE_CHECKING:
    from piko.schedule import Explanation, Schedule

_INTERVAL_KEYS = ("every", "weeks", "days", "hours", "minutes", "seconds", "start_date", "end_date")


def next_instants(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[EXPRESSION|JOB]",
            help="A quoted cron expression, the JSON of schedule_expr, or the id of a job in the database.",
            show_default=False,
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file", "-f", metavar="FILE", help="YAML file with PikoSchedules; - is standard input."
        ),
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=1000, help="Number of due times.")] = 5,
    timezone: Zone = None,
    after: Annotated[
        str | None, typer.Option(metavar="INSTANT", help="Start at this instant instead of now.")
    ] = None,
    job_id: Annotated[
        str, typer.Option(metavar="JOB", help="Job id that `H` in an expression is hashed from.")
    ] = "job",
    dsn: Dsn = None,
    output: Form = Output.TEXT,
) -> None:
    """Explain a schedule and show its next due times. An expression or a file needs no database."""
    from piko.clock import SystemClock
    from piko.schedule import explain

    found = []
    for scheduled, schedule in _schedules(what, file, timezone, job_id, dsn):
        zone = schedule.zone.key
        now = SystemClock().now() if after is None else instant(after, option="--after", zone=zone)
        found.append((scheduled, schedule, explain(schedule, now=now, count=count)))
    if output.is_document:
        show_document([_shown(*item) for item in found], output)
        return
    named = file is not None or (what is not None and is_job_id(what))
    for number, (scheduled, _, explanation) in enumerate(found):
        if number:
            typer.echo()
        if named:
            typer.echo(f"{scheduled}:")
        typer.echo(explanation.sentence)
        for item in explanation.instants:
            typer.echo(f"  {item.local:%a} {item.local.isoformat(sep=' ')}  {stamp(item.instant)}")
        for remark in explanation.remarks:
            typer.echo(f"! {remark}")


def _schedules(
    what: str | None, file: Path | None, zone: str | None, job_id: str, dsn: str | None
) -> list[tuple[str, Schedule]]:
    """Each with its job."""
    if file is not None and what is None:
        return _of_file(file, offline_zone(zone))
    if what is None or file is not None:
        raise RefusedError(
            "expected either an expression or a job, or a file with -f; see `piko next --help`"
        )
    if is_job_id(what):
        return [(what, _of_job(what, dsn, zone))]
    return [(job_id, _of_expression(what, offline_zone(zone), job_id))]


def _of_expression(text: str, zone: str, job_id: str) -> Schedule:
    import json

    from piko.schedule import parse_schedule

    kind, expression = "cron", text.strip()
    if expression[:1] in ("{", '"', "["):
        try:
            keys = json.loads(expression)
        except ValueError:
            keys = None  # the parser reports the error
        if isinstance(keys, dict) and "run_date" in keys:
            kind = "date"
        elif isinstance(keys, dict) and any(key in _INTERVAL_KEYS for key in keys):
            kind = "interval"
    else:
        expression = json.dumps({"cron": expression})
    return parse_schedule(job_id=job_id, schedule_type=kind, schedule_expr=expression, timezone=zone)


def _of_job(job_id: str, dsn: str | None, zone: str | None) -> Schedule:
    from piko.schedule import schedule_of_row

    async def read(reads: Reads) -> Schedule:
        (line,) = await reads.jobs([job_id])
        return schedule_of_row(line, timezone=zone or (await reads.zones([job_id])).get(job_id, "UTC"))

    return with_reads(dsn, read)


def _of_file(file: Path, zone: str) -> list[tuple[str, Schedule]]:
    from piko.cli.manifests import read_manifests
    from piko_operator.checks import schedule_of
    from piko_operator.resources import PikoSchedule

    found = [item for item in read_manifests(file) if isinstance(item, PikoSchedule)]
    if not found:
        raise RefusedError(f"{file}: has no PikoSchedule")
    return [(item.spec.job_id, schedule_of(item, zone)) for item in found]


def _shown(job_id: str, schedule: Schedule, explanation: Explanation) -> dict[str, object]:
    return {
        "job_id": job_id,
        "schedule_type": schedule.kind,
        "schedule_expr": schedule.expression,
        "timezone": schedule.zone.key,
        "sentence": explanation.sentence,
        "instants": [
            {"instant": item.instant, "local": item.local.isoformat()} for item in explanation.instants
        ],
        "remarks": list(explanation.remarks),
    }
