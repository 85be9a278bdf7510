"""`piko export` and `piko diff` beside the database, as a person runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from piko.store.schema.migrate import upgrade
from tests.cli.piko import CANNOT, NEEDS_ACTION, OK, Answer, piko_here
from tests.harness.databases import TestDatabase

_SECRET = "hunter2"


@pytest.fixture
async def database(sqlite: TestDatabase) -> TestDatabase:
    await upgrade(sqlite.dsn)
    for statement in (
        "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr, timeout_s) "
        "VALUES ('orders', 'cron', '\"0 2 * * *\"', 600)",
        "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr, managed_by) "
        "VALUES ('owned', 'interval', '{\"seconds\": 10}', 'prod/data/by-git/uid-1')",
        "INSERT INTO job_config (job_id, config_json, secret_json) "
        f'VALUES (\'orders\', \'{{"size": 5, "to": {{"table": "a"}}}}\', \'{{"x": "{_SECRET}"}}\')',
    ):
        await sqlite.execute(statement)
    await taken_up(sqlite)
    return sqlite


async def taken_up(database: TestDatabase) -> None:
    """As a leader leaves it that has taken up every row."""
    for statement in (
        "DELETE FROM job_state",
        "INSERT INTO job_state (job_id, status, observed_version) "
        "SELECT job_id, 'Scheduled', version FROM scheduled_job",
        "DELETE FROM job_config_revision",
        "INSERT INTO job_config_revision "
        "(job_id, revision, content_hash, schema_version, config_json, row_version) "
        "SELECT job_id, 1, 'hash', schema_version, config_json, version FROM job_config",
    ):
        await database.execute(statement)


def _piko(database: TestDatabase, folder: Path, *arguments: str, stdin: str = "") -> Answer:
    return piko_here(*arguments, cwd=folder, dsn=database.dsn, stdin=stdin)


async def test_rows_are_printed_as_resources_that_validate_accepts(
    database: TestDatabase, tmp_path: Path
) -> None:
    answer = _piko(database, tmp_path, "export")
    assert (answer.code, answer.err) == (OK, "")
    first = yaml.safe_load(answer.out.partition("---")[0])
    assert (first["kind"], first["metadata"]) == ("PikoSchedule", {"name": "orders"})
    assert first["spec"] == {
        "jobId": "orders",
        "schedule": {"cron": "0 2 * * *"},
        "timeout": "10m",
        "adoptionPolicy": "Adopt",
    }
    assert "  name: by-git\n  namespace: data\n" in answer.out
    assert "Adopt" not in answer.out.partition("by-git")[2]
    assert _SECRET not in answer.out
    assert "name: orders-config" in answer.out, "a Secret that has to be made holds what is not printed"
    (tmp_path / "rows.yaml").write_text(answer.out, encoding="utf-8")
    assert _piko(database, tmp_path, "validate", "-f", "rows.yaml").code == OK


async def test_some_rows_are_exported_and_as_one_list_of_kubectl(
    database: TestDatabase, tmp_path: Path
) -> None:
    answer = _piko(database, tmp_path, "export", "--owner", "resource", "-o", "json")
    document = json.loads(answer.out)
    assert (document["kind"], [item["metadata"]["name"] for item in document["items"]]) == (
        "List",
        ["by-git"],
    )
    named = _piko(database, tmp_path, "export", "orders", "--class-name", "blue", "-o", "json")
    assert {item["spec"]["className"] for item in json.loads(named.out)["items"]} == {"blue"}
    unknown = _piko(database, tmp_path, "export", "order")
    assert (unknown.code, "no rows of order" in unknown.err) == (CANNOT, True)


async def test_a_row_that_no_resource_becomes_is_left_with_the_reason(
    database: TestDatabase, tmp_path: Path
) -> None:
    await database.execute("UPDATE scheduled_job SET max_instances = 100001 WHERE job_id = 'orders'")
    await database.execute(
        f"UPDATE job_config SET config_json = '{{\"password\": \"{_SECRET}\"}}' WHERE job_id = 'orders'"
    )
    answer = _piko(database, tmp_path, "export")
    assert answer.code == NEEDS_ACTION
    left = answer.err.splitlines()
    assert [line.partition(": left: ")[2][:24] for line in left[:2]] == [
        "orders in scheduled_job:", "orders in job_config: co",
    ]  # fmt: skip
    assert left[2] == "piko: 1 resource, 2 left"
    assert _SECRET not in answer.out + answer.err


_RESOURCES = """
apiVersion: piko.dev/v1
kind: PikoSchedule
metadata: {name: by-git, namespace: data}
spec: {jobId: owned, schedule: {interval: {every: 10s}}}
"""


async def test_what_says_the_same_differs_in_nothing(database: TestDatabase, tmp_path: Path) -> None:
    answer = _piko(database, tmp_path, "diff", "-f", "-", stdin=_RESOURCES)
    assert (answer.code, answer.out) == (OK, "nothing differs; 1 resource compared\n")


@pytest.mark.parametrize(
    ("statement", "line"),
    [
        ("UPDATE scheduled_job SET priority = 3", "owned PikoSchedule priority 0 3"),
        ("UPDATE scheduled_job SET enabled = 0", "owned PikoSchedule enabled True False"),
        (
            "UPDATE scheduled_job SET schedule_expr = '{\"seconds\": 11}'",
            'owned PikoSchedule schedule_expr interval {"every":"10s"} interval {"seconds": 11}',
        ),
        ("UPDATE scheduled_job SET managed_by = NULL", "owned PikoSchedule managed_by data/by-git SQL"),
        (
            "UPDATE scheduled_job SET managed_by = 'prod/data/other/uid'",
            "owned PikoSchedule managed_by data/by-git data/other",
        ),
        ("DELETE FROM scheduled_job", "owned PikoSchedule row a row in scheduled_job none"),
        (
            "UPDATE job_state SET observed_version = 0",
            "owned PikoSchedule in force version 1 of the row version 0",
        ),
        ("DELETE FROM job_state", "owned PikoSchedule in force version 1 of the row nothing yet"),
    ],
)
async def test_each_difference_is_a_line(
    database: TestDatabase, tmp_path: Path, statement: str, line: str
) -> None:
    await database.execute(f"{statement}{'' if ' WHERE ' in statement else _OWNED}")
    answer = _piko(database, tmp_path, "diff", "-f", "-", stdin=_RESOURCES)
    assert answer.code == NEEDS_ACTION
    header, *lines = (" ".join(each.split()) for each in answer.out.splitlines())
    assert (header, lines) == ("JOB RESOURCE FIELD DECLARED FOUND", [line])


_OWNED = " WHERE job_id = 'owned'"

_CONFIG = """
apiVersion: piko.dev/v1
kind: PikoJobConfig
metadata: {name: orders}
spec: {jobId: orders, config: {size: 6, to: {table: a, mode: x}}}
"""


async def test_configs_are_compared_by_path_and_secrets_only_by_whether_there_are_any(
    database: TestDatabase, tmp_path: Path
) -> None:
    await database.execute("UPDATE job_config_revision SET error = 'size: too large'")
    answer = _piko(database, tmp_path, "diff", "-f", "-", "-o", "json", stdin=_CONFIG)
    assert answer.code == NEEDS_ACTION
    said = json.loads(answer.out)
    assert said["compared"] == 1
    assert [(item["field"], item["declared"], item["found"]) for item in said["differences"]] == [
        ("managed_by", "orders", "SQL"),
        ("config_json.size", "6", "5"),
        ("config_json.to.mode", '"x"', "none"),
        ("secret_json", "none", "there is one"),
        ("in force", "revision 1", "none; it is refused: size: too large"),
    ]
    assert _SECRET not in answer.out


async def test_a_file_with_a_mistake_is_not_compared(database: TestDatabase, tmp_path: Path) -> None:
    answer = _piko(database, tmp_path, "diff", "-f", "-", stdin=_RESOURCES.replace("10s", "0s"))
    assert (answer.code, answer.out) == (CANNOT, "")
    assert "standard input, line 5 (PikoSchedule by-git): spec.schedule.interval.every: '0s'" in answer.err


async def test_without_a_file_it_says_that_it_needs_kubectl(database: TestDatabase, tmp_path: Path) -> None:
    answer = piko_here("diff", cwd=tmp_path, dsn=database.dsn, PATH=str(tmp_path))
    assert (answer.code, "kubectl is not on the PATH" in answer.err) == (CANNOT, True)
