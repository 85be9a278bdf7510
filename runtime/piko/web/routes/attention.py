"""`/attention`: what needs a person, as `piko status` says it."""

from __future__ import annotations

from fastapi import APIRouter

from piko.store.reports.attention import read_facts
from piko.store.reports.troubles import InstallationReport, report
from piko.web.request import DefaultZone, OnDatabase

router = APIRouter(tags=["attention"])


@router.get("/attention")
async def whole_installation(database: OnDatabase, timezone: DefaultZone) -> InstallationReport:
    """Who leads, which replicas there are, counters, and each trouble with what cures it."""
    return report(await read_facts(database), timezone=timezone)
