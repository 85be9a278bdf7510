"""Create `run_log`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, MetaData, Table, text

from piko.store.schema.column_types import INSTANT, JOB_ID, JSON_TEXT, KEY, LONG_TEXT
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_36"
down_revision = "0.1.0_35"


def upgrade(steps: Steps) -> None:
    between = "how many of them lie between head and tail, and are not kept"
    steps.create_table(
        Table(
            "run_log",
            MetaData(),
            Column("run_id", KEY, primary_key=True, comment="the run; one that says nothing has no row"),
            Column("job_id", JOB_ID, nullable=False, comment="its job"),
            Column("head", LONG_TEXT, comment="first lines of its log, at most 16 KiB"),
            Column("tail", LONG_TEXT, comment="last lines of its log, at most 48 KiB"),
            Column(
                "line_count",
                BigInteger,
                nullable=False,
                server_default=text("0"),
                comment="lines it logged",
            ),
            Column("left_out", BigInteger, nullable=False, server_default=text("0"), comment=between),
            Column("progress_done", Double, comment="ctx.progress: how much is done"),
            Column("progress_total", Double, comment="ctx.progress: of how much; NULL: unknown"),
            Column("progress_text", LONG_TEXT, comment="ctx.progress: in the words of the handler"),
            Column("result", JSON_TEXT, comment="the dict that its handler returned, at most 16 KiB"),
            Column("written_at", INSTANT, comment="when its log or its progress was last written"),
            mysql_engine="InnoDB",
            mysql_charset="utf8mb4",
            mysql_collate="utf8mb4_bin",
        )
    )
