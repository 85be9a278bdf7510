"""`/replicas`, `/leader`, `/definitions`: who runs, who leads, and which code they have."""

from __future__ import annotations

from fastapi import APIRouter

from piko.store.reports.replicas import DefinitionReport, LeaseReport, ReplicaList, ReplicaReport
from piko.web import paging
from piko.web.paging import Cursor, Limit, Page
from piko.web.request import OnDatabase

router = APIRouter(tags=["replicas"])


@router.get("/replicas")
async def list_replicas(database: OnDatabase) -> list[ReplicaReport]:
    """Replicas, the one that was heard of last first; at most 500."""
    return await ReplicaList(database=database).replicas()


@router.get("/leader")
async def list_leaders(database: OnDatabase) -> list[LeaseReport]:
    """Who leads, for each name that replicas elect a leader under."""
    leaders, _ = await ReplicaList(database=database).leaders()
    return leaders


@router.get("/definitions")
async def list_definitions(
    database: OnDatabase, cursor: Cursor = None, limit: Limit = 50
) -> Page[DefinitionReport]:
    """What the code of each job declares, a page at a time."""
    after = paging.key_of(cursor, filters=None, read=lambda key: str(key[0]))
    found = await ReplicaList(database=database).definitions(after=after, limit=limit + 1)
    return paging.page_of(found, limit, key=lambda item: [item.job_id], filters=None)
