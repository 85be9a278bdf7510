"""A database as a large installation has it after months: what reads for people are measured on.

Each job keeps as many runs as its retention allows. One job keeps every run, so that one list is as long as
those of thousands of jobs. Some jobs fail, are late or cannot run; some runs wait or are in progress.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.harness.databases import TestDatabase
from tests.store.making import foresee, opened

from piko.model.fences import Fence
from piko.store.schema.migrate import upgrade

_AT_ONCE = 100_000

_JOBS = (
    """INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr, enabled, managed_by, last_data_time,
      data_within_s)
    SELECT concat('job-', lpad(seq, 5, '0')), 'cron', '"@hourly"', seq % 50 > 0,
      IF(seq % 2, concat('prod/team-', seq % 20, '/job-', seq, '/uid'), NULL),
      IF(seq % 3, NULL, now(6) - INTERVAL (seq % 90) MINUTE), IF(seq % 10, NULL, 7200)
    FROM seq_0_to_{last_job}""",
    """INSERT INTO job_state (job_id, status, message, next_run_at, consecutive_failures, last_state,
      last_run_id, last_success_at, last_error, cursor_at)
    SELECT concat('job-', lpad(seq, 5, '0')),
      CASE WHEN seq % 200 = 7 THEN 'Invalid' WHEN seq % 200 = 9 THEN 'WaitingForConfig'
        WHEN seq % 50 = 0 THEN 'Disabled' ELSE 'Scheduled' END,
      IF(seq % 200 = 7, 'the expression is not one of cron', NULL),
      now(6) + INTERVAL IF(seq % 200 = 11, -7200, 86400 + seq) SECOND, IF(seq % 100 = 3, 2, 0),
      IF(seq % 100 = 3, 'FAILED', 'SUCCESS'), concat('run-', lpad({runs} - seq, 9, '0')),
      now(6) - INTERVAL seq SECOND, IF(seq % 100 = 3, repeat('Traceback line of an error\\n', 60), NULL),
      now(6)
    FROM seq_0_to_{last_job}""",
    """INSERT INTO job_definition (job_id, app, handler, stateful, config_schema, content_hash, instance_id)
    SELECT concat('job-', lpad(seq, 5, '0')), 'orders', 'orders.jobs:run', seq % 3 = 0,
      '{{"properties": {{"limit": {{"type": "integer"}}, "key": {{"writeOnly": true}}}}}}', 'hash',
      concat('replica-', seq % 3)
    FROM seq_0_to_{last_job}""",
    """INSERT INTO job_config (job_id, schema_version, config_json)
    SELECT concat('job-', lpad(seq, 5, '0')), 1, '{{"limit": 5, "key": "value"}}' FROM seq_0_to_{last_job}""",
    """INSERT INTO job_config_revision
      (job_id, revision, content_hash, schema_version, config_json, row_version)
    SELECT concat('job-', lpad(seq % {jobs}, 5, '0')), 1 + seq DIV {jobs}, 'hash', 1,
      '{{"limit": 5, "key": "value"}}', 1
    FROM seq_0_to_{last_revision}""",
    """INSERT INTO job_config_revision
      (job_id, revision, content_hash, schema_version, config_json, row_version)
    SELECT 'job-00001', seq, 'hash', 1, concat('{{"limit": 5, "list": "', repeat('x', 2000), '"}}'), 1
    FROM seq_10_to_500""",
    """INSERT INTO backfill (backfill_id, job_id, state, range_start, range_end, schedule_type, schedule_expr,
      timezone, next_start, windows_total)
    SELECT concat('backfill-', lpad(seq, 5, '0')), concat('job-', lpad(3 * (seq % 100), 5, '0')),
      IF(seq = 1, 'ACTIVE', 'SUCCEEDED'), '2026-01-01', '2026-01-08', 'cron', '"@hourly"', 'UTC',
      '2026-01-02', 168
    FROM seq_1_to_2000""",
    """INSERT INTO change_log (change_id, at, who, via, what, job_id, `before`, `after`)
    SELECT concat('change-', lpad(seq, 9, '0')), now(6) - INTERVAL (200000 - seq) MINUTE, 'ann', 'api',
      'pause', concat('job-', lpad(seq % {jobs}, 5, '0')), '{{"enabled": true}}', '{{"enabled": false}}'
    FROM seq_1_to_200000""",
    """INSERT INTO dead_letter (letter_id, instance_id, sink, job_id, run_id, record_key, error, died_at)
    SELECT concat('letter-', lpad(seq, 9, '0')), concat('replica-', seq % 3), concat('sink-', seq % 4),
      concat('job-', lpad(seq % {jobs}, 5, '0')), concat('run-', lpad(seq, 9, '0')), 'key', 'ValueError: no',
      now(6) - INTERVAL seq SECOND
    FROM seq_1_to_50000""",
    """INSERT INTO leader_lease (name, epoch, holder, holder_host, acquired_at, renewed_at, expires_at)
    VALUES ('default', 7, 'replica-0', 'host-0', now(6), now(6), now(6) + INTERVAL 10 DAY)""",
    """INSERT INTO runtime_instance
      (instance_id, app, host, pid, version, started_at, heartbeat_at, stopped_at)
    SELECT concat('replica-', seq), 'orders', concat('host-', seq), 1, '0.1.0', now(6),
      now(6) - INTERVAL IF(seq < 3, 0, seq) MINUTE, IF(seq < 3, NULL, now(6)) FROM seq_0_to_300""",
)

# The rows of one job lie apart, as they come in over time; those of `job-00001` are one in twenty of all.
_RUNS = """
INSERT INTO job_run (run_id, job_id, scheduled_time, state, started_at, finished_at, duration_s, instance_id,
  epoch, error_type, error, missed_through, missed_count, window_start, window_end, backfill_id, trigger_type)
SELECT run_id, job_id, due, state, IF(state = 'QUEUED', NULL, due), IF(state IN ('QUEUED', 'RUNNING'), NULL,
  due + INTERVAL 3 SECOND), IF(state = 'SUCCESS', 3.0, NULL), 'replica-0', 7,
  IF(state = 'FAILED', 'ValueError', NULL),
  IF(state = 'FAILED', repeat('Traceback line of an error\\n', 40), NULL),
  IF(state = 'MISSED', due, NULL), IF(state = 'MISSED', 1, NULL), due - INTERVAL 1 HOUR, due,
  IF(number % 400 = 21, concat('backfill-', lpad(IF(number % 800 = 21, 1, 1 + number % 2000), 5, '0')), NULL),
  IF(number % 400 = 21, 'backfill', 'schedule')
FROM (
  SELECT seq AS number, concat('run-', lpad(seq, 9, '0')) AS run_id,
    IF(seq % 20 = 0, 'job-00001', concat('job-', lpad(seq % {jobs}, 5, '0'))) AS job_id,
    now(6) - INTERVAL (({runs} - seq) * {step}) SECOND AS due,
    CASE WHEN seq > {runs} - 300 THEN 'RUNNING' WHEN seq > {runs} - 3000 THEN 'QUEUED'
      WHEN seq % 50 = 7 THEN 'FAILED' WHEN seq % 1000 = 8 THEN 'LOST' WHEN seq % 500 = 9 THEN 'MISSED'
      WHEN seq % 500 = 10 THEN 'SKIPPED' ELSE 'SUCCESS' END AS state
  FROM seq_{first}_to_{last}
) AS made
"""
_LOGS = """
INSERT INTO run_log (run_id, job_id, head, line_count, result)
SELECT concat('run-', lpad(seq, 9, '0')), 'job-00001',
  repeat('2026-01-08T00:00:00Z INFO a line of the log of a run\\n', IF(seq % 1000, 20, 300)), 20,
  '{{"rows": 5}}'
FROM seq_1_to_{runs} WHERE seq % 20 = 0 AND seq BETWEEN {first} AND {last}
"""
_WELL = (
    """UPDATE scheduled_job JOIN job_definition USING (job_id) SET enabled = TRUE,
      last_data_time = IF(stateful, date_format(now(6) - INTERVAL 10 MINUTE, '%Y-%m-%d %H:00'), NULL),
      scheduled_job.data_within_s = IF(job_id LIKE '%0', 7200, NULL),
      job_definition.data_within_s = IF(job_id LIKE '%5', 7200, NULL),
      job_definition.finish_within_s = IF(job_id LIKE '%5', 7200, NULL)""",
    """UPDATE job_state JOIN scheduled_job USING (job_id) SET status = 'Scheduled', message = NULL,
      consecutive_failures = 0, last_state = 'SUCCESS', last_error = NULL, given_up_to = NULL,
      next_run_at = now(6) + INTERVAL 86400 + ascii(right(job_id, 1)) SECOND,
      last_success_at = now(6) - INTERVAL 10 MINUTE,
      cursor_at = coalesce(last_data_time, now(6)), data_through = last_data_time""",
    """UPDATE job_run SET state = 'SUCCESS', finished_at = now(6)
    WHERE state IN ('QUEUED', 'RUNNING') AND scheduled_time < now(6) - INTERVAL 90 MINUTE""",
    """UPDATE runtime_instance SET heartbeat_at = now(6) + INTERVAL 1 HOUR WHERE stopped_at IS NULL""",
)
_BEHIND = """UPDATE scheduled_job JOIN job_definition USING (job_id) JOIN job_state USING (job_id)
  SET last_data_time = last_data_time - INTERVAL 5 HOUR, data_through = data_through - INTERVAL 5 HOUR
  WHERE stateful"""
_FAILING = """UPDATE job_state SET consecutive_failures = 2, last_state = 'FAILED',
  last_error = repeat('Traceback line of an error\n', 60)"""
AS_FILLED = "mixed"
SCENES: Mapping[str, Sequence[str]] = {
    AS_FILLED: (),
    "well": _WELL,
    "behind": (*_WELL, _BEHIND),
    "failing": (*_WELL, _FAILING),
}
"""What makes a scene of a database that was filled, in an order in which each may follow the one before.

Some hundred jobs in need of somebody; all jobs well, a third of them stateful, a fifth with a promise; all
that is stateful behind, and nothing else; all jobs failing.
"""

_TABLES = (
    "job_run, run_log, change_log, scheduled_job, job_state, job_definition, job_config_revision, backfill, "
    "data_deadline"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much there is. The runs are spread over two months, however many there are."""

    jobs: int
    runs: int

    @property
    def step_s(self) -> float:
        """Seconds between two due times."""
        return 60 * 86_400 / self.runs


async def fill(database: TestDatabase, size: Size) -> None:
    """The tables with that much in them, and statistics of them. MariaDB only: it makes rows of numbers."""
    await upgrade(database.dsn)
    values = {
        "jobs": size.jobs,
        "last_job": size.jobs - 1,
        "last_revision": 3 * size.jobs - 1,
        "runs": size.runs,
        "step": size.step_s,
    }
    for statement in _JOBS:
        await database.execute(statement.format(**values))
    for first in range(1, size.runs + 1, _AT_ONCE):
        part = {"first": first, "last": min(first + _AT_ONCE - 1, size.runs)}
        await database.execute(_RUNS.format(**values, **part))
        await database.execute(_LOGS.format(**values, **part))
    await database.execute(f"ANALYZE TABLE {_TABLES}")


async def set_scene(database: TestDatabase, scene: str) -> None:
    """Make `scene`, one of `SCENES`, of a database that `fill` has filled; the first follows no other."""
    for statement in SCENES[scene]:
        await database.execute(statement)
    await database.execute("DELETE FROM data_deadline")
    async with opened(database) as store:
        await foresee(store, Fence(name="default", epoch=7))
    await database.execute(f"ANALYZE TABLE {_TABLES}")
