"""Complete the instants of `job_config` on SQLite."""

from __future__ import annotations

from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_16"
down_revision = "0.1.0_15"


_STATEMENT = (
    "CREATE TRIGGER job_config_complete_instants AFTER INSERT ON job_config FOR EACH ROW WHEN "
    "length(NEW.effective_from) < 26 BEGIN UPDATE job_config SET effective_from = "
    "substr(effective_from || substr('.000000', length(effective_from) - 18), 1, 26) WHERE "
    "job_id = NEW.job_id; END"
)


def upgrade(steps: Steps) -> None:
    steps.create_sqlite_trigger("job_config_complete_instants", _STATEMENT)
