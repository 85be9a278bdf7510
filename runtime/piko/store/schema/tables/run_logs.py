"""What runs say of themselves: their logs, how far they are, and what their handlers returned."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Table, text

from piko.store.schema.column_types import INSTANT, JOB_ID, JSON_TEXT, KEY, LONG_TEXT
from piko.store.schema.tables.metadata import ON_MYSQL, metadata

run_log = Table(
    "run_log",
    metadata,
    Column("run_id", KEY, primary_key=True, comment="the run; one that says nothing has no row"),
    Column("job_id", JOB_ID, nullable=False, comment="its job"),
    Column("head", LONG_TEXT, comment="first lines of its log, at most 16 KiB"),
    Column("tail", LONG_TEXT, comment="last lines of its log, at most 48 KiB"),
    Column("line_count", BigInteger, nullable=False, server_default=text("0"), comment="lines it logged"),
    Column(
        "left_out",
        BigInteger,
        nullable=False,
        server_default=text("0"),
        comment="how many of them lie between head and tail, and are not kept",
    ),
    Column("progress_done", Double, comment="ctx.progress: how much is done"),
    Column("progress_total", Double, comment="ctx.progress: of how much; NULL: unknown"),
    Column("progress_text", LONG_TEXT, comment="ctx.progress: in the words of the handler"),
    Column("result", JSON_TEXT, comment="the dict that its handler returned, at most 16 KiB"),
    Column("written_at", INSTANT, comment="when its log or its progress was last written"),
    **ON_MYSQL,
)
