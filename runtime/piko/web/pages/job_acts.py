"""`/jobs/{job_id}/pause` and its like: what people do to one job, as forms."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from piko.clock import Clock
from piko.errors import NotFoundError
from piko.steering import backfills, configs, runs, schedules, shell
from piko.store.engine import Database
from piko.store.reports.overview import JobReport, Overview, unknown_job
from piko.web.asked import Act
from piko.web.pages.acting import Doing, PageAct, answer
from piko.web.request import AtClock, DefaultZone, JobId, OnDatabase, row_tag
from piko.web.routes.backfills import BackfillRange
from piko.web.routes.job_acts import Pause, RollbackConfig, RunWindow, SetWatermark, TriggerRun
from piko.web.views import acts, links
from piko.web.views.acts import REASON, ActForm, Effect, FieldKind, FormField
from piko.web.views.configs import indented
from piko.web.views.words import stamp

router = APIRouter(include_in_schema=False)

_CHOICES = 50
_OVERRIDES = FormField(
    name="config",
    label="Config overrides",
    kind=FieldKind.OBJECT,
    hint='A JSON object such as {"batch": 5}, merged over the config in force. No secrets: it is recorded.',
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _On:
    """The job that an act is about, and what acts need."""

    database: Database
    clock: Clock
    zone: str
    job: JobReport


@router.get("/jobs/{job_id}/{verb}")
@router.post("/jobs/{job_id}/{verb}")
async def act_on_job(
    request: Request, job_id: JobId, verb: str, database: OnDatabase, clock: AtClock, zone: DefaultZone
) -> Response:
    """The form of an act, its dry run, and the act."""
    make = _ACTS.get(verb)
    if make is None:
        raise NotFoundError(f"nothing that can be done to a job is called {verb[:40]!r}")
    job = await Overview(database=database).job(job_id)
    if job is None:
        raise await unknown_job(database, job_id)
    return await answer(request, await make(_On(database=database, clock=clock, zone=zone, job=job)))


def _form(on: _On, verb: str, says: str, *fields: FormField, line: str, ends: bool = False) -> ActForm:
    return ActForm(
        verb=verb,
        subject=on.job.job_id,
        back=links.job(on.job.job_id),
        says=says,
        shell=line,
        fields=(*fields, REASON),
        ends=ends,
    )


async def _pause(on: _On) -> PageAct[Pause]:
    job_id = on.job.job_id

    async def perform(act: Pause, doing: Doing) -> Effect:
        changed = await schedules.set_enabled(
            on.database,
            job_id,
            enabled=False,
            until=act.until,
            now=on.clock.now(),
            actor=doing.actor,
            seen=doing.seen,
            dry_run=doing.dry_run,
        )
        return Effect(
            sentences=acts.paused(on.job, act.until, changed=changed),
            shell=shell.command("pause", job_id, until=act.until, reason=act.reason),
            leads_to=links.job(job_id),
            done="paused",
            nothing=not changed,
        )

    until = FormField(
        name="until", label="Until (UTC)", hint="The leader resumes it then.", kind=FieldKind.INSTANT
    )
    form = _form(on, "Pause", "Its due times do not fire.", until, line=shell.command("pause", job_id))
    return PageAct(form=form, takes=Pause, perform=perform, tag=_tag(on))


async def _resume(on: _On) -> PageAct[Act]:
    job_id = on.job.job_id

    async def perform(act: Act, doing: Doing) -> Effect:
        changed = await schedules.set_enabled(
            on.database,
            job_id,
            enabled=True,
            now=on.clock.now(),
            actor=doing.actor,
            seen=doing.seen,
            dry_run=doing.dry_run,
        )
        return Effect(
            sentences=acts.resumed(changed=changed),
            shell=shell.command("resume", job_id, reason=act.reason),
            leads_to=links.job(job_id),
            done="resumed",
            nothing=not changed,
        )

    form = _form(on, "Resume", "Its due times fire again.", line=shell.command("resume", job_id))
    return PageAct(form=form, takes=Act, perform=perform, tag=_tag(on))


async def _trigger(on: _On) -> PageAct[TriggerRun]:
    job_id = on.job.job_id

    async def perform(act: TriggerRun, doing: Doing) -> Effect:
        run = await runs.trigger(
            on.database,
            job_id,
            overrides=act.config,
            clock=on.clock,
            actor=doing.actor,
            dry_run=doing.dry_run,
        )
        return Effect(
            sentences=acts.queued(run),
            shell=shell.command("trigger", job_id, config=act.config, reason=act.reason),
            leads_to=links.run(run.run_id),
            done="queued",
        )

    says = "It runs once, now, in addition to its schedule. A paused job runs, too."
    form = _form(on, "Run now", says, _OVERRIDES, line=shell.command("trigger", job_id))
    return PageAct(form=form, takes=TriggerRun, perform=perform)


async def _run_window(on: _On) -> PageAct[RunWindow]:
    job_id = on.job.job_id

    async def perform(act: RunWindow, doing: Doing) -> Effect:
        run = await runs.run_window(
            on.database,
            job_id,
            act.start,
            overrides=act.config,
            zone=on.zone,
            clock=on.clock,
            actor=doing.actor,
            dry_run=doing.dry_run,
        )
        return Effect(
            sentences=acts.queued(run),
            shell=shell.command("trigger", job_id, window=act.start, config=act.config, reason=act.reason),
            leads_to=links.run(run.run_id),
            done="queued",
        )

    start = FormField(name="start", label="Window begins (UTC)", required=True, kind=FieldKind.INSTANT)
    says = "One window runs, again or for the first time. The watermark does not move."
    line = shell.command("trigger", job_id, window="INSTANT")
    form = _form(on, "Run a window", says, start, _OVERRIDES, line=line)
    return PageAct(form=form, takes=RunWindow, perform=perform)


async def _set_watermark(on: _On) -> PageAct[SetWatermark]:
    job_id = on.job.job_id

    async def perform(act: SetWatermark, doing: Doing) -> Effect:
        change = await schedules.set_watermark(
            on.database,
            job_id,
            act.watermark,
            zone=on.zone,
            now=on.clock.now(),
            actor=doing.actor,
            seen=doing.seen,
            dry_run=doing.dry_run,
        )
        return Effect(
            sentences=acts.moved(change),
            shell=schedules.watermark_shell(job_id, act.watermark, reason=act.reason),
            leads_to=links.job(job_id),
            done="moved",
        )

    now = (
        "It has none now." if on.job.last_data_time is None else f"It is {stamp(on.job.last_data_time)} now."
    )
    field = FormField(
        name="watermark",
        label="Watermark (UTC)",
        hint=f"{now} Leave it empty to begin again with the last full window.",
        kind=FieldKind.INSTANT,
    )
    says = "Data before the watermark is done; every window after it runs, again if it has run before."
    line = shell.command("watermark", job_id, "INSTANT")
    form = _form(on, "Set watermark", says, field, line=line, ends=True)
    return PageAct(form=form, takes=SetWatermark, perform=perform, tag=_tag(on))


async def _rollback_config(on: _On) -> PageAct[RollbackConfig]:
    job_id = on.job.job_id

    async def perform(act: RollbackConfig, doing: Doing) -> Effect:
        revision = await configs.rollback(
            on.database,
            job_id,
            act.revision,
            actor=doing.actor,
            keep_secret=act.keep_secret,
            dry_run=doing.dry_run,
        )
        secret = "stays as it is" if act.keep_secret else "is that of the revision"
        return Effect(
            sentences=(
                f"The content of revision {revision.revision} becomes the config, effective at once, as a "
                f"new revision. The secret part {secret}.",
            ),
            shell=shell.command(
                "config",
                "rollback",
                job_id,
                to=act.revision,
                keep_secret=act.keep_secret,
                reason=act.reason,
            ),
            leads_to=links.job(job_id),
            done="rolled-back",
            text=indented(revision.config),
        )

    known = await configs.revisions(on.database, job_id, most=_CHOICES)
    choices = tuple((str(item.revision), f"{item.revision}, by {item.author or 'SQL'}") for item in known)
    revision = FormField(
        name="revision", label="Revision", kind=FieldKind.CHOICE, required=True, choices=choices
    )
    keep = FormField(name="keep_secret", label="Keep the present secret part", kind=FieldKind.CHECK)
    says = "An earlier content of the config takes effect again."
    line = shell.command("config", "rollback", job_id, to="REVISION")
    form = _form(on, "Roll back config", says, revision, keep, line=line, ends=True)
    return PageAct(form=form, takes=RollbackConfig, perform=perform)


async def _backfill(on: _On) -> PageAct[BackfillRange]:
    job_id = on.job.job_id

    async def perform(act: BackfillRange, doing: Doing) -> Effect:
        planned, request = await backfills.start(
            on.database,
            job_id,
            begin=act.start,
            end=act.end,
            parallel=act.parallelism,
            zone=on.zone,
            clock=on.clock,
            actor=doing.actor,
            dry_run=doing.dry_run,
        )
        return Effect(
            sentences=acts.filled(planned, act.parallelism),
            text=acts.windows(planned),
            shell=act.shell(job_id),
            leads_to="backfills" if request is None else links.backfill(request.backfill_id),
            done="started",
        )

    fields = (
        FormField(name="start", label="From (UTC)", required=True, kind=FieldKind.INSTANT),
        FormField(name="end", label="To (UTC)", required=True, hint="Exclusive.", kind=FieldKind.INSTANT),
        FormField(
            name="parallelism",
            label="Windows at once",
            kind=FieldKind.NUMBER,
            hint="Empty: one.",
        ),
    )
    says = "Every whole window of a range runs, in order, beside the schedule. The watermark does not move."
    line = shell.command("backfill", job_id, frm="INSTANT", to="INSTANT")
    form = _form(on, "Back fill", says, *fields, line=line)
    return PageAct(form=form, takes=BackfillRange, perform=perform)


def _tag(on: _On) -> str:
    return row_tag(on.job.version, on.job.updated_at)


_ACTS: Mapping[str, Callable[[_On], Awaitable[PageAct[Any]]]] = {
    "pause": _pause,
    "resume": _resume,
    "trigger": _trigger,
    "run-window": _run_window,
    "set-watermark": _set_watermark,
    "rollback-config": _rollback_config,
    "backfill": _backfill,
}
