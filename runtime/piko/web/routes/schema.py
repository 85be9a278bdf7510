"""`/schema`: which schema the database has, and which one this release expects."""

from __future__ import annotations

from fastapi import APIRouter

from piko.store.reports.schema import read_schema
from piko.store.schema.status import SchemaStatus
from piko.web.request import OnDatabase

router = APIRouter(tags=["attention"])


@router.get("/schema")
async def schema(database: OnDatabase) -> SchemaStatus:
    """By its revision alone: `piko db check` compares the tables as well."""
    return await read_schema(database)
