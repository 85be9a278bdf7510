"""What all tables share: one metadata, how MySQL keeps them, and the two times that the database fills in."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, MetaData

from piko.store.schema.column_types import STAMP, Now, NowOnWrite

metadata = MetaData()

# Binary, so that a word compares as it is written: `CRON` is not `cron`, on any database.
ON_MYSQL: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}


def created_at() -> Column[object]:
    return Column(
        "created_at", STAMP, nullable=False, server_default=Now(), comment="when the row was created"
    )


def updated_at() -> Column[object]:
    return Column(
        "updated_at",
        STAMP,
        nullable=False,
        server_default=NowOnWrite(),
        comment="when the row was last edited",
    )
