"""Move `updated_at` of `job_config` on SQLite."""

from __future__ import annotations

from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_17"
down_revision = "0.1.0_16"


_STATEMENT = (
    "CREATE TRIGGER job_config_move_updated_at AFTER UPDATE ON job_config FOR EACH ROW WHEN "
    "NEW.updated_at IS OLD.updated_at OR length(NEW.effective_from) < 26 BEGIN UPDATE job_config "
    "SET effective_from = substr(effective_from || substr('.000000', length(effective_from) - "
    "18), 1, 26), updated_at = CASE WHEN NEW.updated_at IS NOT OLD.updated_at THEN "
    "NEW.updated_at WHEN (strftime('%Y-%m-%d %H:%M:%f000', 'now')) > OLD.updated_at THEN "
    "(strftime('%Y-%m-%d %H:%M:%f000', 'now')) ELSE substr(OLD.updated_at, 1, 23) || "
    "printf('%03d', min(999, substr(OLD.updated_at, 24) + 1)) END WHERE job_id = NEW.job_id; END"
)


def upgrade(steps: Steps) -> None:
    steps.create_sqlite_trigger("job_config_move_updated_at", _STATEMENT)
