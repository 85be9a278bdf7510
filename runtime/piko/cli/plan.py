"""`piko plan`: what applying resources would fire, by the leader's own decisions on virtual time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING

from piko.cli.answers import Dsn, Files, Form, Output, Zone, offline_zone, show_document, show_table, stamp
from piko.cli.reads import with_reads
from piko.errors import InputError, ManifestError
from piko.tables import Row
from piko.text import counted, instant_text

if TYPE_CHECKING:
    from piko.store.reports.job_rows import ScheduleAsWritten
    from piko.testing import Timeline
    from piko_operator.manifests import Placed
    from piko_operator.resources import PikoSchedule

_MOST_WINDOWS = 2_000
"""Windows of a backlog that are lived through; more of them are only counted."""
_WRITTEN_APART = frozenset(("job_id", "schedule_type", "schedule_expr"))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedChange:
    """What applying one PikoSchedule does.

    - `due_before`, `due_after`: due times in the next 7 days by the row, and by the resource.
    - `made_up`: windows that end before now and run because of the change, by the next due time; None: too
      many to live through, or the row cannot be used.
    - `first_window`: the first of them.
    - `next_due`: when it is due next, afterwards.
    - `remarks`: what may surprise.
    """

    job_id: str
    resource: str
    is_new: bool
    due_before: int
    due_after: int
    made_up: int | None
    first_window: datetime | None
    next_due: datetime | None
    remarks: Sequence[str]


def plan(
    file: Files,
    timezone: Zone = None,
    dsn: Dsn = None,
    output: Form = Output.TEXT,
) -> None:
    """Say what applying the PikoSchedules of files would fire. Writes nothing.

    Due times of the next 7 days before and after, windows that would be made up, and what may surprise.
    """
    from piko.cli.manifests import valid_in
    from piko.clock import SystemClock
    from piko_operator.resources import PikoSchedule

    zone = offline_zone(timezone)
    placed = [item for item in valid_in(file) if isinstance(item.resource, PikoSchedule)]
    wanted = {item.resource.spec.job_id for item in placed}
    rows = with_reads(dsn, lambda reads: reads.rows(wanted)) if wanted else []
    by_job = {item.job_id: item.schedule for item in rows}
    now = SystemClock().now()
    found = [_planned(item, by_job.get(item.resource.spec.job_id), zone, now) for item in placed]
    if output.is_document:
        show_document(found, output)
    else:
        _show(found)


def _planned(item: Placed, row: ScheduleAsWritten | None, zone: str, now: datetime) -> PlannedChange:
    """Raises `ManifestError` for a schedule that cannot be used."""
    from piko_operator.checks import check_schedule, due_ahead, remarks_on
    from piko_operator.mapping import schedule_row
    from piko_operator.resources import PikoSchedule

    resource = item.resource
    assert isinstance(resource, PikoSchedule)
    checked = check_schedule(resource, zone=zone, now=now)
    if checked.problem is not None:
        raise ManifestError(str(item.problem(checked.problem, *checked.path)))
    after = schedule_row(resource, owner=None)
    remarks = [*filter(None, [checked.warning]), *remarks_on(resource, zone=zone, now=now)]
    made_up: int | None = 0
    first = None
    if row is not None and row.stateful and row.last_data_time is not None:
        made_up, first, remark = _lived_through(row, resource, zone, now)
        remarks += remark
    return PlannedChange(
        job_id=after.job_id,
        resource="/".join(filter(None, (item.namespace, resource.metadata.name))),
        is_new=row is None,
        due_before=0 if row is None else due_ahead(row.row, zone=zone, now=now),
        due_after=due_ahead(after, zone=zone, now=now),
        made_up=made_up,
        first_window=first,
        next_due=_next_due(resource, zone, now),
        remarks=remarks,
    )


def _lived_through(
    row: ScheduleAsWritten, resource: PikoSchedule, zone: str, now: datetime
) -> tuple[int | None, datetime | None, list[str]]:
    """How many windows are made up because of the change, the first of them, and what is to be said of it."""
    from piko.schedule import count_instants
    from piko_operator.checks import schedule_of
    from piko_operator.mapping import schedule_row

    assert row.last_data_time is not None
    missing = count_instants(schedule_of(resource, zone), after=row.last_data_time, through=now)
    if missing > _MOST_WINDOWS:
        since = instant_text(row.last_data_time)
        return None, None, [f"{counted(missing, 'window')} since the watermark {since}; not lived through"]
    try:
        unchanged, changed = _as_it_is(row, zone, now), _as_it_is(row, zone, now)
    except InputError as error:
        return None, None, [f"the row cannot be used, so nothing runs by it: {error}"]
    wanted = schedule_row(resource, owner=None)
    changed.edit(wanted.job_id, **{name: getattr(wanted, name) for name in _columns("job_id")})
    moment = _next_due(resource, zone, now) or now  # what is missing runs with what is due next
    for timeline in (unchanged, changed):
        timeline.advance(until=moment)
    ran, runs = _past_windows(unchanged, now), _past_windows(changed, now)
    left_out = [run for run in changed.runs(wanted.job_id) if run.started_at is None]
    dropped = sum(run.count for run in left_out if run not in unchanged.runs(wanted.job_id))
    remarks = [f"{counted(dropped, 'due time')} would be left out, as MISSED or SKIPPED"] if dropped else []
    return len(runs - ran), min(runs - ran, default=None), remarks


def _past_windows(timeline: Timeline, now: datetime) -> set[datetime]:
    """Where the windows begin that have run and end by `now`."""
    return {
        run.window.start
        for run in timeline.runs()
        if run.window is not None and run.started_at is not None and run.window.end <= now
    }


def _as_it_is(row: ScheduleAsWritten, zone: str, now: datetime) -> Timeline:
    """The job with its row and its watermark, after whatever runs without a change."""
    from piko.app import PikoApp
    from piko.testing import Timeline
    from piko_operator.from_rows import trigger_document

    app, present = PikoApp(), row.row

    @app.job(present.job_id, stateful=True)
    async def handler(_ctx: object, _scheduled_time: object) -> None:
        """It is never called."""

    timeline = Timeline(app, start=now, timezone=zone)
    columns = {name: getattr(present, name) for name in _columns(*_WRITTEN_APART)}
    trigger = trigger_document(present.schedule_type, present.schedule_expr)
    timeline.schedule(present.job_id, trigger, **columns)
    timeline.set_watermark(present.job_id, row.last_data_time)
    return timeline


def _columns(*without: str) -> list[str]:
    """The columns that people write, but for `without`."""
    from piko.model.schedules import ScheduleOptions

    return [item.name for item in fields(ScheduleOptions) if item.name not in without]


def _next_due(resource: PikoSchedule, zone: str, now: datetime) -> datetime | None:
    from piko.schedule import explain
    from piko_operator.checks import schedule_of

    if resource.spec.suspend:
        return None
    found = explain(schedule_of(resource, zone), now=now, count=1).instants
    return found[0].instant if found else None


def _show(found: Sequence[PlannedChange]) -> None:
    rows = [
        Row(
            cells=[
                item.job_id,
                "new" if item.is_new else "row",
                item.due_before,
                item.due_after,
                "?" if item.made_up is None else item.made_up,
                stamp(item.next_due) or "never",
            ],
            notes=[*_windows(item), *item.remarks],
        )
        for item in found
    ]
    columns = ["JOB", "NOW", "7 DAYS BEFORE", "AFTER", "MADE UP", "NEXT"]
    show_table(columns, rows, otherwise="no PikoSchedule is in these files")


def _windows(item: PlannedChange) -> list[str]:
    if not item.made_up or item.first_window is None:
        return []
    return [f"{counted(item.made_up, 'window')} would be made up, from {stamp(item.first_window)} on"]
