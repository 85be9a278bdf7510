"""For what the hooks of the app have been called, so that the next leader neither repeats nor omits it."""

from __future__ import annotations

from sqlalchemy import Column, String, Table

from piko.store.schema.column_types import INSTANT, JOB_ID
from piko.store.schema.tables.metadata import ON_MYSQL, metadata

announcement = Table(
    "announcement",
    metadata,
    Column("job_id", JOB_ID, primary_key=True, comment="the job"),
    Column("kind", String(16), primary_key=True, comment="what hooks were called for: failure or late"),
    Column("since", INSTANT, nullable=False, comment="since when the job fails or is late"),
    **ON_MYSQL,
)
