"""Create `operator_cluster`."""

from __future__ import annotations

from sqlalchemy import Column, MetaData, String, Table

from piko.store.schema.column_types import KEY, STAMP, Now
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_33"
down_revision = "0.1.0_32"


def upgrade(steps: Steps) -> None:
    uid = "uid of the namespace kube-system of the cluster of that name"
    steps.create_table(
        Table(
            "operator_cluster",
            MetaData(),
            Column("cluster", String(63), primary_key=True, comment="first part of managed_by"),
            Column("uid", KEY, nullable=False, comment=uid),
            Column(
                "created_at", STAMP, nullable=False, server_default=Now(), comment="when the row was created"
            ),
            mysql_engine="InnoDB",
            mysql_charset="utf8mb4",
            mysql_collate="utf8mb4_bin",
        )
    )
