"""What the tables refuse, on every database, under a name that says what is wrong."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from sqlalchemy.exc import DBAPIError

from tests.harness.databases import TestDatabase

_SCHEDULE = {"job_id": "'a'", "schedule_type": "'cron'", "schedule_expr": "'{\"minute\": 0}'"}
_CONFIG = {"job_id": "'a'", "config_json": "'{}'"}
_RUN = {
    "run_id": "'r'",
    "job_id": "'a'",
    "scheduled_time": "'2026-01-08 10:00:00.000000'",
    "state": "'QUEUED'",
}
_STATE = {"job_id": "'a'", "status": "'Scheduled'"}
_BASES = {"scheduled_job": _SCHEDULE, "job_config": _CONFIG, "job_run": _RUN, "job_state": _STATE}

# Column, value as SQL, and what the error says: a name of ours, or NULL for the server's own refusal of NULL.
_SCHEDULES_REFUSED = [
    ("job_id", "NULL", "NULL"),
    ("job_id", "''", "job_id_is_1_to_128_characters"),
    ("job_id", "'a b'", "job_id_has_only_allowed_characters"),
    ("job_id", "'a '", "job_id_has_only_allowed_characters"),
    ("job_id", "'a/b'", "job_id_has_only_allowed_characters"),
    ("job_id", "'a''b'", "job_id_has_only_allowed_characters"),
    ("job_id", "'a\n'", "job_id_has_only_allowed_characters"),
    ("job_id", "'a^b'", "job_id_has_only_allowed_characters"),
    ("schedule_type", "NULL", "NULL"),
    ("schedule_type", "''", "schedule_type_is_cron_interval_or_date"),
    ("schedule_type", "'CRON'", "schedule_type_is_cron_interval_or_date"),
    ("schedule_type", "'daily'", "schedule_type_is_cron_interval_or_date"),
    ("schedule_expr", "NULL", "NULL"),
    ("schedule_expr", "''", "schedule_expr_is_json"),
    ("schedule_expr", "'* * * * *'", "schedule_expr_is_json"),
    ("schedule_expr", "'{\"seconds\": NaN}'", "schedule_expr_is_json"),
    ("timezone", "''", "timezone_is_not_empty"),
    ("enabled", "NULL", "NULL"),
    ("enabled", "2", "enabled_is_0_or_1"),
    ("version", "NULL", "NULL"),
    ("version", "-1", "version_is_not_negative"),
    ("end_at", "'2026-01-01 00:00:00'", "start_at_is_before_end_at"),
    ("end_at", "'2025-01-01 00:00:00'", "start_at_is_before_end_at"),
    ("jitter_s", "-0.5", "jitter_s_is_0_to_86400"),
    ("jitter_s", "86401", "jitter_s_is_0_to_86400"),
    ("misfire_grace_s", "NULL", "NULL"),
    ("misfire_grace_s", "-1", "misfire_grace_s_is_not_negative"),
    ("misfire_grace_s", "1e300", "misfire_grace_s_is_not_negative"),
    ("coalesce", "-1", "coalesce_is_0_or_1"),
    ("overlap_policy", "NULL", "NULL"),
    ("overlap_policy", "''", "overlap_policy_is_known"),
    ("overlap_policy", "'Skip'", "overlap_policy_is_known"),
    ("max_instances", "0", "max_instances_is_positive"),
    ("concurrency_group", "''", "concurrency_group_is_not_empty"),
    ("concurrency_limit", "0", "concurrency_limit_is_positive"),
    ("concurrency_limit", "1", "concurrency_limit_needs_a_group"),
    ("priority", "NULL", "NULL"),
    ("timeout_s", "0", "timeout_s_is_positive"),
    ("timeout_s", "-3", "timeout_s_is_positive"),
    ("max_attempts", "0", "max_attempts_is_positive"),
    ("retry_backoff_s", "-1", "retry_backoff_s_is_not_negative"),
    ("retry_max_backoff_s", "-1", "retry_max_backoff_s_is_not_negative"),
    ("backfill_policy", "'ALL'", "backfill_policy_is_known"),
    ("backfill_policy", "'catch_up'", "backfill_policy_is_known"),
    ("max_lookback_s", "0", "max_lookback_s_is_positive"),
    ("backfill_max_windows", "0", "backfill_max_windows_is_positive"),
    ("history_successful", "-1", "history_successful_is_not_negative"),
    ("history_failed", "-1", "history_failed_is_not_negative"),
    ("last_data_time", "'0900-01-01 00:00:00'", "last_data_time_is_an_instant"),
    ("completed_at", "'0900-01-01 00:00:00'", "completed_at_is_an_instant"),
    ("managed_by", "''", "managed_by_is_cluster_namespace_name_uid"),
    ("managed_by", "'me'", "managed_by_is_cluster_namespace_name_uid"),
    ("managed_by", "'a/b/c/'", "managed_by_is_cluster_namespace_name_uid"),
]
_OTHERS_REFUSED = [
    ("job_config", "job_id", "''", "config_job_id_is_1_to_128_characters"),
    ("job_config", "job_id", "'a b'", "config_job_id_has_only_allowed_characters"),
    ("job_config", "schema_version", "0", "schema_version_is_positive"),
    ("job_config", "version", "-1", "config_version_is_not_negative"),
    ("job_config", "config_json", "NULL", "NULL"),
    ("job_config", "config_json", "'concurrency=3'", "config_json_is_json"),
    ("job_config", "config_json", "''", "config_json_is_json"),
    ("job_config", "config_json", "'[1]'", "config_json_is_an_object"),
    ("job_config", "config_json", "'null'", "config_json_is_an_object"),
    ("job_config", "secret_json", "'{'", "secret_json_is_json"),
    ("job_config", "secret_json", "'\"text\"'", "secret_json_is_an_object"),
    ("job_config", "effective_from", "'0900-01-01 00:00:00'", "effective_from_is_an_instant"),
    ("job_config", "managed_by", "'me'", "config_managed_by_is_cluster_namespace_name_uid"),
    ("job_run", "state", "'DONE'", "run_state_is_known"),
    ("job_run", "state", "'running'", "run_state_is_known"),
    ("job_run", "attempt", "0", "attempt_is_positive"),
    ("job_run", "trigger_type", "'cron'", "trigger_type_is_known"),
    ("job_state", "status", "'scheduled'", "job_status_is_known"),
]
_REFUSED = [("scheduled_job", *case) for case in _SCHEDULES_REFUSED] + _OTHERS_REFUSED

# MySQL refuses these by their type; SQLite has no types, so that a CHECK must.
_REFUSED_BY_TYPE = [
    ("enabled", "'yes'", "enabled_is_0_or_1"),
    ("version", "'one'", "version_is_not_negative"),
    ("jitter_s", "'1s'", "jitter_s_is_0_to_86400"),
    ("misfire_grace_s", "'5m'", "misfire_grace_s_is_not_negative"),
    ("misfire_grace_s", "9e999", "misfire_grace_s_is_not_negative"),
    ("misfire_grace_s", "-9e999", "misfire_grace_s_is_not_negative"),
    ("misfire_grace_s", "9e999 - 9e999", "NULL"),
    ("timeout_s", "'10m'", "timeout_s_is_positive"),
    ("max_instances", "'many'", "max_instances_is_positive"),
    ("priority", "'high'", "priority_is_a_whole_number"),
    ("retry_backoff_s", "'10s'", "retry_backoff_s_is_not_negative"),
    ("start_at", "'soon'", "start_at_is_an_instant"),
    ("start_at", "''", "start_at_is_an_instant"),
    ("start_at", "'2026-02-30 00:00:00'", "start_at_is_an_instant"),
    ("end_at", "'2026-01-08 25:00:00'", "end_at_is_an_instant"),
    ("last_data_time", "'2026-13-08 10:00:00'", "last_data_time_is_an_instant"),
]
# What MySQL would understand and SQLite keep as it is: no instant of UTC as the runtime reads it.
_REFUSED_ON_SQLITE_ALONE = [
    ("last_data_time", "'2026-01-08'", "last_data_time_is_an_instant"),
    ("last_data_time", "'2026-01-08T10:00:00'", "last_data_time_is_an_instant"),
    ("last_data_time", "'2026-01-08 10:00:00Z'", "last_data_time_is_an_instant"),
    ("last_data_time", "'2026-01-08 10:00:00+08:00'", "last_data_time_is_an_instant"),
    ("last_data_time", "'2026-01-08 10:00:00 -00:00'", "last_data_time_is_an_instant"),
    ("last_data_time", "'2026-01-08 10:00:00.12Z'", "last_data_time_is_an_instant"),
    ("last_data_time", "1767866400", "last_data_time_is_an_instant"),
    ("updated_at", "'yesterday'", "updated_at_is_an_instant"),
]

_ACCEPTED = [
    ("job_id", "'A.b_c:d-9'"),
    ("job_id", f"'{'x' * 128}'"),
    ("schedule_expr", "'\"*/5 * * * *\"'"),
    ("enabled", "0"),
    ("version", "0"),
    ("version", "9223372036854775807"),
    ("start_at", "NULL"),
    ("end_at", "'9999-12-31 23:59:59.999999'"),
    ("last_data_time", "'2026-02-28 23:59:59.999'"),
    ("last_data_time", "'1970-01-01 00:00:00'"),
    ("jitter_s", "86400"),
    ("jitter_s", "0.001"),
    ("misfire_grace_s", "10000000000"),
    ("overlap_policy", "'queue_all'"),
    ("priority", "-2147483647"),
    ("timeout_s", "0.5"),
    ("backfill_policy", "'CATCH_UP'"),
    ("managed_by", "'default/data/sync-orders/0b9c6d0e-7f0c-4f57-b9ef-2f4b2f3c1d11'"),
]


async def test_nonsense_is_refused_by_a_constraint_whose_name_says_why(
    migrated_database: TestDatabase,
) -> None:
    on_sqlite = migrated_database.kind == "sqlite"
    cases = list(_REFUSED)
    cases += [("scheduled_job", *case) for case in (_REFUSED_BY_TYPE if on_sqlite else [])]
    cases += [("scheduled_job", *case) for case in (_REFUSED_ON_SQLITE_ALONE if on_sqlite else [])]
    wrong = {}
    for table, column, value, expected in cases:
        values = {**_BASES[table], column: value}
        if column == "end_at":
            values["start_at"] = "'2026-01-01 00:00:00'"
        said = await _refusal(migrated_database, table, values)
        if expected not in (said or "").replace("cannot be null", "NULL"):
            wrong[f"{table}.{column} = {value}"] = f"expected {expected}, got {said}"
    assert wrong == {}


async def test_what_has_the_wrong_type_is_refused(migrated_database: TestDatabase) -> None:
    accepted = [
        f"{column} = {value}"
        for column, value, _ in _REFUSED_BY_TYPE
        if await _refusal(migrated_database, "scheduled_job", {**_SCHEDULE, column: value}) is None
    ]
    assert accepted == []


async def test_what_is_at_the_edge_is_accepted(migrated_database: TestDatabase) -> None:
    refused = {}
    for column, value in _ACCEPTED:
        said = await _refusal(migrated_database, "scheduled_job", {**_SCHEDULE, column: value})
        if said is not None:
            refused[f"{column} = {value}"] = said
        await migrated_database.execute("DELETE FROM scheduled_job")
    assert refused == {}


async def test_job_ids_compare_byte_by_byte(migrated_database: TestDatabase) -> None:
    for job_id in ("'job'", "'Job'", "'JOB'"):
        assert await _refusal(migrated_database, "scheduled_job", {**_SCHEDULE, "job_id": job_id}) is None
    assert await migrated_database.execute("SELECT count(*) FROM scheduled_job WHERE job_id = 'Job'") == [
        (1,)
    ]


async def test_an_update_is_held_to_the_same_rules(migrated_database: TestDatabase) -> None:
    await migrated_database.execute(_insert("scheduled_job", _SCHEDULE))
    with pytest.raises(DBAPIError, match="max_instances_is_positive"):
        await migrated_database.execute("UPDATE scheduled_job SET max_instances = 0")


async def _refusal(database: TestDatabase, table: str, values: Mapping[str, str]) -> str | None:
    """What the database says against the row; None where it takes it."""
    try:
        await database.execute(_insert(table, values))
    except DBAPIError as error:
        return str(error.orig)
    return None


def _insert(table: str, values: Mapping[str, str]) -> str:
    return f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join(values.values())})"
