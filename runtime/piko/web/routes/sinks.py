"""`/sinks`: what waits for each sink, whether it fails, and what it has refused."""

from __future__ import annotations

from fastapi import APIRouter

from piko.store.reports.sinks import SinkList, SinkReport
from piko.web.request import OnDatabase

router = APIRouter(tags=["sinks"])


@router.get("/sinks")
async def list_sinks(database: OnDatabase) -> list[SinkReport]:
    """Every sink by name, with what each replica said of it with its last heartbeat."""
    return await SinkList(database=database).all()
