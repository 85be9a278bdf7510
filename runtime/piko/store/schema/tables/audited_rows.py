"""Rows as `change_log` knows them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, String, Table

from piko.store.schema.column_types import INSTANT, JOB_ID, JSON_TEXT
from piko.store.schema.tables.metadata import ON_MYSQL, metadata

audited_row = Table(
    "audited_row",
    metadata,
    Column("table_name", String(64), primary_key=True, comment="scheduled_job or job_config"),
    Column("job_id", JOB_ID, primary_key=True, comment="the job"),
    Column(
        "content",
        JSON_TEXT,
        comment="what people write in the row, as change_log knows it; of a secret a hash",
    ),
    Column("row_version", BigInteger, comment="version of the row when it was compared last"),
    Column("row_written_at", INSTANT, comment="its updated_at then"),
    Column(
        "set_watermark",
        String(32),
        comment="watermark that change_log has and job_state has not yet; none: none was set",
    ),
    **ON_MYSQL,
)
