"""The tables: the contract between the operator, people with a SQL prompt, and the runtime.

Conventions, on MySQL, MariaDB and SQLite alike:

- Times are UTC with microseconds and without a zone. `created_at` and `updated_at` of the tables that
  people write are `TIMESTAMP` on MySQL, because it stores UTC whatever the zone of the session that wrote.
- `job_id` compares byte by byte.
- A column that people need not fill has a default, or is nullable with "not said" as its meaning.
- Durations are seconds, in columns that end in `_s`.

One module per family. Importing any of them imports all, so that `metadata` is always whole.
"""

from __future__ import annotations

from piko.store.schema.tables.announcements import announcement
from piko.store.schema.tables.audited_rows import audited_row
from piko.store.schema.tables.backfills import backfill
from piko.store.schema.tables.changes import change_log
from piko.store.schema.tables.configs import job_config
from piko.store.schema.tables.data_deadlines import data_deadline
from piko.store.schema.tables.dead_letters import dead_letter
from piko.store.schema.tables.idempotency import idempotency_key
from piko.store.schema.tables.metadata import metadata
from piko.store.schema.tables.operators import operator_cluster, orphaned_row
from piko.store.schema.tables.replicas import job_definition, leader_lease, runtime_instance, session_lock
from piko.store.schema.tables.revisions import job_config_revision
from piko.store.schema.tables.run_logs import run_log
from piko.store.schema.tables.runs import job_lock, job_run
from piko.store.schema.tables.schedules import scheduled_job
from piko.store.schema.tables.states import job_state
from piko.store.schema.tables.webhook_posts import webhook_announcement, webhook_post

__all__ = ["TABLES", "metadata"]

TABLES = (
    scheduled_job,
    job_config,
    job_run,
    backfill,
    job_lock,
    run_log,
    job_state,
    data_deadline,
    announcement,
    webhook_announcement,
    webhook_post,
    job_config_revision,
    job_definition,
    runtime_instance,
    leader_lease,
    session_lock,
    operator_cluster,
    orphaned_row,
    dead_letter,
    change_log,
    audited_row,
    idempotency_key,
)
"""All of them: first what people write, then what the runtime and the operator do."""
