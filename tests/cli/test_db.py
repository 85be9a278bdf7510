"""`piko db` as a program: what it prints, what it never prints, and its exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from piko.store.schema.migrate import dump
from piko.store.schema.migrations.version_table import VERSION_TABLE
from piko.store.schema.release import head
from piko.store.schema.tables import metadata
from tests.cli.piko import CANNOT, NEEDS_ACTION, OK, piko_here
from tests.harness.database_servers import DatabaseServer
from tests.harness.databases import TestDatabase
from tests.harness.programs import PikoProcessFactory
from tests.harness.waiting import PATIENCE_S


@pytest.mark.usefixtures("programs")
def test_it_is_a_program(tmp_path: Path) -> None:
    outcome = subprocess.run(
        [sys.executable, "-m", "piko", "db", "check"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PIKO_MYSQL_DSN": "nonsense"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (outcome.returncode, outcome.stdout) == (CANNOT, "")
    assert outcome.stderr.startswith("piko: setting `mysql_dsn` is not a database URL")
    assert "Traceback" not in outcome.stderr


def test_upgrade_makes_the_tables_and_check_agrees(database: TestDatabase, tmp_path: Path) -> None:
    before = piko_here("db", "check", cwd=tmp_path, dsn=database.dsn)
    assert before.code == NEEDS_ACTION
    assert "none of Piko's tables" in before.err
    assert "run `piko db upgrade`" in before.err

    upgraded = piko_here("db", "upgrade", cwd=tmp_path, dsn=database.dsn)
    assert (upgraded.code, upgraded.err) == (OK, "")
    (line,) = upgraded.out.splitlines()
    assert line.startswith(f"made {len(metadata.tables)} tables; the schema of ")
    assert line.endswith(f"at revision {head()}, as this release expects")

    again = piko_here("db", "upgrade", "--dsn", database.dsn, cwd=tmp_path)
    assert (again.code, again.out.count("\n")) == (OK, 1), "there is nothing left to do"
    as_json = json.loads(piko_here("db", "upgrade", "-o", "json", cwd=tmp_path, dsn=database.dsn).out)
    assert (as_json["state"], as_json["revision"], as_json["applied"]) == ("current", head(), [])
    after = piko_here("db", "check", cwd=tmp_path, dsn=database.dsn)
    assert (after.code, after.err) == (OK, "")


def test_a_new_database_has_its_steps_listed_only_if_that_is_asked_for(
    database: TestDatabase, tmp_path: Path
) -> None:
    upgraded = piko_here("db", "upgrade", "-v", cwd=tmp_path, dsn=database.dsn)
    first, *others, made, last = upgraded.out.splitlines()
    assert first == "0.1.0_01  Create `scheduled_job`."
    assert any(line.endswith(" on SQLite.") for line in others) == (database.kind == "sqlite")
    assert made.startswith(f"{head()}  ")
    assert last.startswith(f"made {len(metadata.tables)} tables; the schema of ")


async def test_an_older_database_has_the_steps_listed_that_changed_it(
    migrated_database: TestDatabase, tmp_path: Path
) -> None:
    await migrated_database.execute("DROP TABLE webhook_post")
    await migrated_database.execute(f"UPDATE {VERSION_TABLE} SET version_num = '0.1.0_12'")
    upgraded = piko_here("db", "upgrade", cwd=tmp_path, dsn=migrated_database.dsn)
    assert (upgraded.code, upgraded.err) == (OK, "")
    *steps, last = upgraded.out.splitlines()
    assert steps == ["0.1.0_85  Create `webhook_post`."]
    assert last.startswith("the schema of ")
    as_json = json.loads(
        piko_here("db", "upgrade", "-o", "json", cwd=tmp_path, dsn=migrated_database.dsn).out
    )
    assert as_json["applied"] == []


async def test_check_answers_in_json_for_each_state(migrated_database: TestDatabase, tmp_path: Path) -> None:
    async def state(change: str) -> tuple[str, int]:
        await migrated_database.execute(change)
        answer = piko_here("db", "check", "-o", "json", cwd=tmp_path, dsn=migrated_database.dsn)
        document = json.loads(answer.out)
        assert set(document) == {"state", "database", "revision", "expected", "differences", "message"}
        assert document["expected"] == head()
        return document["state"], answer.code

    version = f"UPDATE {VERSION_TABLE} SET version_num = "
    assert await state(f"{version}'{head()}'") == ("current", OK)
    assert await state(f"{version}'0.1.0_02'") == ("behind", NEEDS_ACTION)
    assert await state(f"{version}'9.0.0_01'") == ("ahead", OK)
    await migrated_database.execute(f"{version}'{head()}'")
    assert await state("DROP TABLE job_lock") == ("drifted", NEEDS_ACTION)


async def test_a_drifted_schema_is_described_line_by_line(
    migrated_database: TestDatabase, tmp_path: Path
) -> None:
    await migrated_database.execute("DROP TABLE job_lock")
    answer = piko_here("db", "check", cwd=tmp_path, dsn=migrated_database.dsn)
    assert answer.code == NEEDS_ACTION
    assert "table job_lock is missing" in answer.err
    assert piko_here("db", "upgrade", cwd=tmp_path, dsn=migrated_database.dsn).code == NEEDS_ACTION


def test_a_database_that_is_down_is_said_without_the_password(
    own_mariadb: DatabaseServer, tmp_path: Path
) -> None:
    own_mariadb.stop()
    dsn = f"mysql+asyncmy://piko:hush@127.0.0.1:{own_mariadb.port}/piko"
    for command in ("check", "upgrade"):
        for answer in (
            piko_here("db", command, cwd=tmp_path, dsn=dsn),
            piko_here("db", command, "--dsn", dsn, cwd=tmp_path),
        ):
            assert answer.code == CANNOT
            assert f"piko:***@127.0.0.1:{own_mariadb.port}/piko is not available" in answer.err
            assert "hush" not in answer.out + answer.err


async def test_an_upgrade_whose_server_is_killed_says_so_and_is_run_again(
    own_mariadb: DatabaseServer, piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    database = await own_mariadb.create_database()
    upgrade = piko_process("-m", "piko", "db", "upgrade", "-v", env={"PIKO_MYSQL_DSN": database.dsn})
    upgrade.wait_for_line("0.1.0_03")
    own_mariadb.kill()
    if upgrade.wait() != OK:  # else it was done before the server was
        assert upgrade.returncode == CANNOT
        assert "is not available" in upgrade.output
    assert "Traceback" not in upgrade.output
    own_mariadb.start()
    assert piko_here("db", "upgrade", cwd=tmp_path, dsn=database.dsn).code == OK


@pytest.mark.parametrize(
    ("dsn", "said"),
    [
        (None, "setting `mysql_dsn` is missing: set PIKO_MYSQL_DSN"),
        ("nonsense:hush", "is not a database URL"),
        ("mysql+pymysql://piko:hush@db/piko", "driver 'mysql+pymysql' is not supported"),
        ("mysql+asyncmy://piko:hush@db", "host or database name is missing"),
        ("sqlite+aiosqlite://", "a database in memory is lost with its connection; expected a file"),
    ],
)
def test_a_setting_that_cannot_work_is_explained(tmp_path: Path, dsn: str | None, said: str) -> None:
    answer = piko_here("db", "check", cwd=tmp_path, dsn=dsn)
    assert answer.code == CANNOT
    assert said in answer.err
    assert "hush" not in answer.out + answer.err


def test_an_option_that_cannot_work_is_explained_by_its_name(tmp_path: Path) -> None:
    answer = piko_here("db", "upgrade", "--dsn", "postgresql://piko:hush@db/piko", cwd=tmp_path)
    assert answer.code == CANNOT
    assert "`--dsn` = postgresql://piko:***@db/piko" in answer.err
    assert "hush" not in answer.err


@pytest.mark.parametrize("arguments", [("db", "check", "-o", "yaml"), ("db", "migrate"), ("db", "--what")])
def test_a_command_that_is_not_understood_exits_with_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert piko_here(*arguments, cwd=tmp_path).code == CANNOT


def test_checking_a_file_that_is_not_there_does_not_make_it(tmp_path: Path) -> None:
    path = tmp_path / "misspelt.db"
    assert piko_here("db", "check", "--dsn", f"sqlite+aiosqlite:///{path}", cwd=tmp_path).code == NEEDS_ACTION
    assert not path.exists()


@pytest.mark.parametrize("dialect", ["mysql", "mariadb", "sqlite"])
def test_dump_needs_no_settings_and_prints_every_table(tmp_path: Path, dialect: str) -> None:
    answer = piko_here("db", "dump", "--dialect", dialect, cwd=tmp_path)
    assert (answer.code, answer.err) == (OK, "")
    assert answer.out == dump(dialect)
    for table in metadata.tables:
        assert f"CREATE TABLE {table} (" in answer.out


@pytest.mark.usefixtures("programs")
def test_the_command_itself_brings_no_heavy_library(tmp_path: Path) -> None:
    program = """
import sys, piko
before = set(sys.modules)
import piko.cli
piko.cli.program()
print(sorted({"alembic", "fastapi", "sqlalchemy", "uvicorn"} & (set(sys.modules) - before)))
"""
    outcome = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert outcome.stdout == "[]\n"
