"""Export, apply, compare: a fixpoint, on a real API server, with an operator and MariaDB."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from tests.cli.piko import NEEDS_ACTION, OK, Answer, piko_here
from tests.cli.test_export_and_diff import taken_up
from tests.harness.locate import find_tool
from tests.operator.conftest import World, grant

_SECRETS = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch"]}]
_ROWS = (
    "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr) VALUES "
    "('text', 'cron', '\"*/5 * * * *\"'), ('named', 'cron', '{\"cron\": \"@daily\"}'), "
    '(\'fields\', \'cron\', \'{"hour": "2,14", "minute": 30, "day_of_week": "mon-fri"}\'), '
    '(\'units\', \'interval\', \'{"hours": 1, "seconds": 5, "start_date": "2026-01-01"}\'), '
    "('fraction', 'interval', '{\"seconds\": 0.25}'), ('every', 'interval', '{\"every\": \"90m\"}'), "
    "('once', 'date', '{\"run_date\": \"2046-01-08 10:00:00\"}')",
    "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr, timezone, enabled, start_at, end_at, "
    "jitter_s, misfire_grace_s, coalesce, overlap_policy, max_instances, concurrency_group, "
    "concurrency_limit, priority, timeout_s, max_attempts, retry_backoff_s, retry_max_backoff_s, "
    "backfill_policy, max_lookback_s, backfill_max_windows, history_successful, history_failed, "
    "data_within_s, start_within_s, finish_within_s) VALUES ('Every:option.1', 'cron', '\"0 2 * * *\"', "
    "'Asia/Shanghai', 0, '2026-01-01 00:00:00.5', '2046-01-01', 1.5, 0.000001, 0, 'queue_all', 3, "
    "'1e3: yes', 2, -7, 3661.25, 5, 0.5, 7200, 'CATCH_UP', 259200, 40, 0, 7, 7200, 60, 90.001)",
    "INSERT INTO job_config (job_id, schema_version, config_json, effective_from, secret_json) VALUES "
    '(\'text\', 3, \'{"mode": "no", "rate": 0.5, "code": "010", "list": [1, null, {"a": "1e3"}]}\', '
    "'2046-01-01', '{\"db\": {\"password\": \"hunter2\"}}'), ('units', 1, '{}', NULL, NULL)",
)
_NOT_WRITTEN = {"managed_by", "version", "updated_at", "updated_by", "schedule_expr"}


async def _table(world: World, name: str) -> dict[str, dict[str, Any]]:
    """The rows of a table by job, but for who wrote them."""
    columns = [row[0] for row in await world.database.execute(f"SHOW COLUMNS FROM {name}")]
    rows = [
        dict(zip(columns, row, strict=True)) for row in await world.database.execute(f"SELECT * FROM {name}")
    ]
    found = {row["job_id"]: {key: row[key] for key in row if key not in _NOT_WRITTEN} for row in rows}
    for row in found.values():
        for column in ("config_json", "secret_json"):
            if row.get(column) is not None:
                row[column] = json.loads(row[column])
    return found


def _specs(text: str) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in document["spec"].items() if key not in ("adoptionPolicy", "configFrom")}
        for document in yaml.safe_load_all(text)
    ]


async def test_export_apply_diff_is_a_fixpoint(world: World, tmp_path: Path) -> None:
    for statement in _ROWS:
        await world.database.execute(statement)
    before = {name: await _table(world, name) for name in ("scheduled_job", "job_config")}

    def piko(*arguments: str) -> Answer:
        kubeconfig = world.control_plane.service_account_kubeconfig(world.namespace, "operator")
        path = f"{Path(find_tool('kubectl')).parent}:/usr/bin:/bin"
        return piko_here(
            *arguments, cwd=tmp_path, dsn=world.database.dsn, KUBECONFIG=str(kubeconfig), PATH=path
        )

    exported = piko("export")
    assert (exported.code, exported.err, "hunter2" in exported.out) == (OK, "", False)
    (tmp_path / "rows.yaml").write_text(exported.out, encoding="utf-8")
    grant(world.control_plane, world.namespace, _SECRETS, name="piko-operator-secrets")
    secret = json.dumps(before["job_config"]["text"]["secret_json"])
    world.kubectl("create", "secret", "generic", "text-config", f"--from-literal=secret.json={secret}")
    operator = world.start()
    world.kubectl("apply", "-f", str(tmp_path / "rows.yaml"))
    for table, count in (("scheduled_job", 8), ("job_config", 2)):
        await world.until_row(f"SELECT COUNT(*) FROM {table} WHERE managed_by IS NOT NULL", [(count,)])

    after = {name: await _table(world, name) for name in before}
    assert after == before, "the resources say what the rows said"
    await taken_up(world.database)
    for compared in (piko("diff", "-f", "rows.yaml"), piko("diff")):
        assert (compared.code, compared.out) == (OK, "nothing differs; 10 resources compared\n"), compared
    assert _specs(piko("export").out) == _specs(exported.out), "and are exported as before"

    operator.kill()
    await world.database.execute("UPDATE scheduled_job SET priority = 9 WHERE job_id = 'text'")
    edited = piko("diff", "text")
    assert (edited.code, edited.out.split()[5:]) == (
        NEEDS_ACTION, ["text", "PikoSchedule", "priority", "0", "9"],
    )  # fmt: skip
    world.kubectl("patch", "psch", "named", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    world.kubectl("delete", "psch", "named")
    left = piko("diff", "-o", "json")
    (alone,) = [item for item in json.loads(left.out)["differences"] if item["job_id"] == "named"]
    assert (alone["resource"], alone["found"]) == (
        None, f"a row in scheduled_job of {world.namespace}/named",
    )  # fmt: skip
