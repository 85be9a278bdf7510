"""The two columns of a row that has an owner: who that is, and the writer's own count of edits."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, String, text


def version() -> Column[int]:
    return Column(
        "version",
        BigInteger,
        nullable=False,
        server_default=text("1"),
        comment="yours to raise; any edit counts, raised or not",
    )


def managed_by() -> Column[str]:
    return Column(
        "managed_by", String(512), comment="cluster/namespace/name/uid of its owner; NULL: SQL owns it"
    )
