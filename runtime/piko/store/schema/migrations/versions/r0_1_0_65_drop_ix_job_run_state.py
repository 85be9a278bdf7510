"""Drop `ix_job_run_state` of `job_run`: `ix_job_run_state_time` begins with the state too."""

from __future__ import annotations

from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_65"
down_revision = "0.1.0_64"


def upgrade(steps: Steps) -> None:
    steps.drop_index("ix_job_run_state", table="job_run")
