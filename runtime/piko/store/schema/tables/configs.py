"""Configs, as people and resources write them."""

from __future__ import annotations

from sqlalchemy import Column, Table

from piko.model.configs import ConfigContent
from piko.store.schema import checks
from piko.store.schema.column_types import JOB_ID
from piko.store.schema.declared import declared_checks, declared_columns, declared_instants
from piko.store.schema.dialects import triggers_on_sqlite
from piko.store.schema.tables.metadata import ON_MYSQL, created_at, metadata, updated_at
from piko.store.schema.tables.ownership import managed_by, version

job_config = Table(
    "job_config",
    metadata,
    Column("job_id", JOB_ID, primary_key=True, comment="the job, as the code registers it"),
    *declared_columns(ConfigContent),
    version(),
    managed_by(),
    created_at(),
    updated_at(),
    *checks.job_id("config_"),
    *declared_checks(ConfigContent),
    checks.between("version", 0, checks.MAX_BIGINT, "config_version_is_not_negative"),
    *checks.stamps(),
    checks.managed_by("config_"),
    **ON_MYSQL,
)
triggers_on_sqlite(job_config, instants=declared_instants(ConfigContent))
