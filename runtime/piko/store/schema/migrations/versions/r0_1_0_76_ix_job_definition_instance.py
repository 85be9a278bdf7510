"""Index `job_definition` by the replica that published it."""

from __future__ import annotations

from sqlalchemy import Column, Index, MetaData, Table

from piko.store.schema.column_types import KEY
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_76"
down_revision = "0.1.0_75"


def upgrade(steps: Steps) -> None:
    table = Table("job_definition", MetaData(), Column("instance_id", KEY))
    steps.create_index(Index("ix_job_definition_instance", table.c.instance_id))
