"""Complete the instants of `scheduled_job` on SQLite."""

from __future__ import annotations

from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_14"
down_revision = "0.1.0_13"


_STATEMENT = (
    "CREATE TRIGGER scheduled_job_complete_instants AFTER INSERT ON scheduled_job FOR EACH ROW "
    "WHEN length(NEW.start_at) < 26 OR length(NEW.end_at) < 26 OR length(NEW.last_data_time) < "
    "26 OR length(NEW.completed_at) < 26 BEGIN UPDATE scheduled_job SET start_at = "
    "substr(start_at || substr('.000000', length(start_at) - 18), 1, 26), end_at = substr(end_at "
    "|| substr('.000000', length(end_at) - 18), 1, 26), last_data_time = substr(last_data_time "
    "|| substr('.000000', length(last_data_time) - 18), 1, 26), completed_at = "
    "substr(completed_at || substr('.000000', length(completed_at) - 18), 1, 26) WHERE job_id = "
    "NEW.job_id; END"
)


def upgrade(steps: Steps) -> None:
    steps.create_sqlite_trigger("scheduled_job_complete_instants", _STATEMENT)
