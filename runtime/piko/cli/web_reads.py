"""What commands read, from the web service of a release."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from piko.cli.answers import instant
from piko.cli.web_service import WebApi, WebUnavailableError
from piko.errors import NotFoundError, RefusedError
from piko.model.backfills import Backfill
from piko.steering.configs import ConfigRevisionShown
from piko.steering.schedules import WatermarkChange
from piko.steering.shell import MOST
from piko.store.reports.dead_letters import DeadLetterReport, LetterFilter
from piko.store.reports.explanations import JobExplanation
from piko.store.reports.job_rows import JobRows
from piko.store.reports.overview import JobReport, RunReport
from piko.store.reports.periods import PeriodReport, RunSum, period_of
from piko.store.reports.run_logs import RunLogReport
from piko.store.reports.runs import RunFilter
from piko.store.reports.sinks import SinkReport
from piko.store.reports.troubles import InstallationReport
from piko.store.schema.status import SchemaStatus
from piko.text import instant_text

T = TypeVar("T")

_PAGE = 500
_REVISIONS = 100
_NAMED = 20
"""Jobs that one request names; an address is only so long."""
_ASKED_ALONE = 20
"""Of so many jobs each is asked for; of more, all are listed."""


class WebReads:
    """`Reads` over HTTP. A value that a later release has more of is left out; one that lacks is an error.

    Raises `WebUnavailableError` in addition.
    """

    def __init__(self, *, api: WebApi) -> None:
        self._api = api

    async def schema(self) -> SchemaStatus:
        return _read(SchemaStatus, self._api.get("schema"))

    async def installation(self) -> InstallationReport:
        first = page = _read(InstallationReport, self._api.get("attention"))
        troubles = list(first.troubles)
        while page.next is not None:
            page = _read(InstallationReport, self._api.get("attention", cursor=page.next))
            troubles += page.troubles
        return replace(first, well=not troubles, troubles=troubles, next=None)

    async def jobs(self, job_ids: Collection[str]) -> list[JobReport]:
        if job_ids:
            return [_read(JobReport, self._api.get("jobs", job_id)) for job_id in sorted(set(job_ids))]
        return self._pages(JobReport, most=None, path="jobs")

    async def rows(self, job_ids: Collection[str]) -> list[JobRows]:
        found = [] if job_ids else self._pages(JobRows, most=None, path="rows")
        wanted = sorted(set(job_ids))
        for start in range(0, len(wanted), _NAMED):
            page = self._api.get("rows", job=wanted[start : start + _NAMED], limit=_NAMED)
            found += _read(list[JobRows], page["items"])
        return found

    async def runs(self, wanted: RunFilter, *, most: int) -> list[RunReport]:
        filters = {
            "job": wanted.job_id,
            "state": list(wanted.states),
            "backfill": wanted.backfill_id,
            "since": None if wanted.since is None else instant_text(wanted.since),
            "until": None if wanted.until is None else instant_text(wanted.until),
        }
        return self._pages(RunReport, most=most, path="runs", **filters)

    async def run(self, run_id: str) -> RunReport | None:
        try:
            return _read(RunReport, self._api.get("runs", run_id))
        except (NotFoundError, RefusedError):  # refused: no run can have that id
            return None

    async def attempts(self, run: RunReport) -> list[RunReport]:
        return _read(list[RunReport], self._api.get("runs", run.run_id, "attempts"))

    async def log(self, run_id: str) -> RunLogReport | None:
        found = self._api.get("runs", run_id, "log")
        return None if found is None else _read(RunLogReport, found)

    async def zones(self, job_ids: Collection[str]) -> dict[str, str]:
        wanted = set(job_ids)
        if len(wanted) <= _ASKED_ALONE:
            asked = {job_id: await self._zone(job_id) for job_id in sorted(wanted)}
            return {job_id: zone for job_id, zone in asked.items() if zone is not None}
        jobs = [job for job in await self.jobs(()) if job.job_id in wanted]
        nameless = next((job.job_id for job in jobs if not job.timezone), None)
        usual = None if nameless is None else await self._zone(nameless)  # the same of all
        found = {job.job_id: job.timezone or usual for job in jobs}
        return {job_id: zone for job_id, zone in found.items() if zone is not None}

    async def explain(self, job_id: str, at: str | None) -> JobExplanation:
        moment = None if at is None else instant_text(await self._instant(job_id, at))
        return _read(JobExplanation, self._api.get("jobs", job_id, "explain", at=moment))

    async def period(self, since: datetime, until: datetime, job_id: str | None) -> PeriodReport:
        asked = {"since": instant_text(since), "until": instant_text(until), "job": job_id}
        found, cursor, more = [], None, True
        while more:
            page = self._api.get("runs:report", cursor=cursor, **asked)
            found += _read(list[RunSum], page["items"])
            cursor = page["next"]
            more = cursor is not None
        return period_of(found, since=since, until=until)

    async def watermark(self, job_id: str) -> WatermarkChange:
        return _read(WatermarkChange, self._api.get("jobs", job_id, "watermark"))

    async def config_history(self, job_id: str) -> list[ConfigRevisionShown]:
        found: list[ConfigRevisionShown] = []
        while True:
            before = found[-1].revision if found else None
            page = self._api.get("jobs", job_id, "config", before=before, limit=_REVISIONS)
            found += _read(list[ConfigRevisionShown], page)
            if len(page) < _REVISIONS:
                return found

    async def backfills(self, job_id: str | None, *, most: int) -> list[Backfill]:
        found: list[Backfill] = []
        while len(found) < most:
            limit = min(_PAGE, most - len(found))
            before = found[-1].backfill_id if found else None
            page = self._api.get("backfills", job=job_id, before=before, limit=limit)
            found += _read(list[Backfill], page)
            if len(page) < limit:
                break
        if not found and job_id is not None:
            await self.jobs([job_id])
        return found

    async def backfill(self, beginning: str) -> Backfill:
        return _read(Backfill, self._api.get("backfills", beginning))

    async def sinks(self) -> list[SinkReport]:
        return _read(list[SinkReport], self._api.get("sinks"))

    async def dead_letters(self, wanted: LetterFilter) -> list[DeadLetterReport]:
        filters = {
            "sink": wanted.sink,
            "job": wanted.job_id,
            "run": wanted.run_id,
            "replica": wanted.instance_id,
        }
        return self._pages(DeadLetterReport, most=MOST, path="dead-letters", **filters)

    async def _instant(self, job_id: str, text: str) -> datetime:
        """What `text` says in the zone of the job, which is asked for only where it matters."""
        moment, in_another = (instant(text, option="INSTANT", zone=zone) for zone in ("UTC", "Etc/GMT+12"))
        if moment == in_another:
            return moment
        zone = await self._zone(job_id)
        if zone is None:
            await self.jobs([job_id])
            raise RefusedError(
                f"INSTANT = {text!r}: the schedule of {job_id} "
                f"cannot be used, so its zone is not known here; give an offset, as in {text}Z"
            )
        return instant(text, option="INSTANT", zone=zone)

    async def _zone(self, job_id: str) -> str | None:
        """The zone of the job's schedule; None: it has no row, or one that cannot be used."""
        try:
            (job,) = await self.jobs([job_id])
            return job.timezone or str(self._api.get("jobs", job_id, "next", count=1)["timezone"])
        except (NotFoundError, RefusedError):  # refused: the schedule of the row cannot be used
            return None

    def _pages(self, kind: type[T], *, most: int | None, path: str, **filters: object) -> list[T]:
        """At most `most` items of a list, page by page; None: all of them."""
        found: list[T] = []
        cursor = None
        while most is None or len(found) < most:
            limit = _PAGE if most is None else min(_PAGE, most - len(found))
            page = self._api.get(path, cursor=cursor, limit=limit, **filters)
            found += [_read(kind, item) for item in page["items"]]
            cursor = page.get("next")
            if cursor is None:
                break
        return found


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """What reads values of that kind; to make one takes longer than to read hundreds."""
    return TypeAdapter(kind)


def _read(kind: type[T], value: Any) -> T:
    hashable: Any = kind
    try:
        found: T = _adapter(hashable).validate_python(value)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise WebUnavailableError(
            f"the web service is of another release than this command: {where}: {error.errors()[0]['msg']}"
        ) from None
    return found
