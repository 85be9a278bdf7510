"""`/attention`: what needs a person, as `piko status` says it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from piko.store.reports.attention import read_facts
from piko.store.reports.jobs_in_need import PLACES, NeedKey
from piko.store.reports.troubles import InstallationReport, report
from piko.web import paging
from piko.web.paging import MOST, Cursor
from piko.web.request import DefaultZone, OnDatabase

router = APIRouter(tags=["attention"])

_FILTERS = "attention"

JobLimit = Annotated[int, Query(ge=1, le=MOST, description="Of how many jobs a page has the troubles.")]


@router.get("/attention")
async def whole_installation(
    database: OnDatabase, timezone: DefaultZone, cursor: Cursor = None, limit: JobLimit = 100
) -> InstallationReport:
    """Who leads, which replicas there are, counters, and each trouble with what cures it.

    What concerns more than one job is on the first page alone. A page may have troubles of fewer jobs, and
    even none, where there are more: it looks at 500 jobs at most that may be in trouble. `next` says whether
    there are. Of the jobs that fail it has the 1,000 that did so most often, of each other trouble the first
    1,000.
    """
    after = paging.key_of(cursor, filters=_FILTERS, read=_read_key)
    facts = await read_facts(database, timezone=timezone, most=limit, after=after)
    key = None if facts.next is None else paging.plain(facts.next)
    return report(facts, next_page=paging.cursor_of(key, filters=_FILTERS))


def _read_key(key: paging.Key) -> NeedKey:
    """Where among the jobs in need that of a cursor's `key` stands. Raises `ValueError`."""
    place, reached, job_id = key
    if place not in PLACES:
        raise ValueError("no job in need stands there")
    return place, None if reached is None else paging.moment(reached), str(job_id)
