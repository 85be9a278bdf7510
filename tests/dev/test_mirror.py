"""The folder into rows: who owns them, and what happens to them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from piko.dev.files import ResourceFiles
from piko.dev.mirror import FolderMirror
from piko.store.engine import Database, open_database
from piko.store.schema.migrate import upgrade
from tests.dev.folders import config, make_folder, schedule
from tests.harness.databases import TestDatabase

_ROW = "SELECT schedule_expr, enabled, managed_by, version FROM scheduled_job WHERE job_id = 'tick'"


@pytest.fixture
async def opened(sqlite: TestDatabase) -> AsyncIterator[Database]:
    await upgrade(sqlite.dsn)
    database = open_database(sqlite.dsn)
    yield database
    await database.close()


class _Folder:
    def __init__(self, path: Path, database: Database) -> None:
        self.path = path
        self.mirror = FolderMirror(database=database)

    async def apply(self, text: str | None) -> tuple[list[str], list[str]]:
        """With `text` in `it.yaml`; None: without that file."""
        make_folder(self.path, it=text or "", other="# piko.dev: nothing in here")
        if text is None:
            (self.path / "it.yaml").unlink()
        return await self.mirror.apply(ResourceFiles(self.path).first())


@pytest.fixture
def folder(tmp_path: Path, opened: Database) -> _Folder:
    return _Folder(tmp_path / "jobs", opened)


async def test_a_row_is_made_changed_once_and_deleted(folder: _Folder, sqlite: TestDatabase) -> None:
    assert await folder.apply(schedule("tick", "1s")) == (["new: PikoSchedule tick in it.yaml"], [])
    assert await sqlite.execute(_ROW) == [('{"every":"1s"}', 1, "dev/default/tick/it.yaml", 1)]
    assert await folder.apply(schedule("tick", "1s")) == ([], [])
    assert await folder.apply(schedule("tick", "2s")) == (["changed: PikoSchedule tick in it.yaml"], [])
    assert await sqlite.execute(_ROW) == [('{"every":"2s"}', 1, "dev/default/tick/it.yaml", 2)]
    assert (await folder.apply(None))[0] == ["deleted: PikoSchedule of job 'tick', its row: delete"]
    assert await sqlite.execute(_ROW) == []


@pytest.mark.parametrize(
    ("policy", "left"),
    [("Disable", [('{"every":"1s"}', 0, None, 2)]), ("Retain", [('{"every":"1s"}', 1, None, 2)])],
)
async def test_a_resource_that_goes_may_leave_its_row(
    folder: _Folder, sqlite: TestDatabase, policy: str, left: list[tuple[object, ...]]
) -> None:
    await folder.apply(schedule("tick", "1s", more=f"deletionPolicy: {policy}"))
    await folder.apply(None)
    assert await sqlite.execute(_ROW) == left


@pytest.mark.parametrize("text", ["", "# piko.dev: all of it commented out\n", "apiVersion: piko", "a: 1\n"])
async def test_a_file_that_holds_nothing_any_more_is_broken_and_its_rows_stay(
    folder: _Folder, sqlite: TestDatabase, text: str
) -> None:
    await folder.apply(schedule("tick", "1s"))
    done, problems = await folder.apply(text)
    assert done == []
    assert problems == [
        "it.yaml: it held the PikoSchedule of job 'tick' and now holds no resource; its row is unchanged. "
        "Restore the resource, or delete the file to remove what it declared"
    ]
    assert len(await sqlite.execute(_ROW)) == 1
    assert await folder.apply(schedule("tick", "1s")) == ([], [])


async def test_a_resource_may_move_to_another_file(folder: _Folder, sqlite: TestDatabase) -> None:
    await folder.apply(schedule("tick", "1s"))
    make_folder(folder.path, it="", moved=schedule("tick", "1s"))
    done, problems = await folder.mirror.apply(ResourceFiles(folder.path).first())
    assert (done, problems) == (["changed: PikoSchedule tick in moved.yaml"], [])
    assert await sqlite.execute("SELECT managed_by FROM scheduled_job") == [("dev/default/tick/moved.yaml",)]


async def test_a_policy_counts_although_the_file_was_emptied_before_it_was_deleted(
    folder: _Folder, sqlite: TestDatabase
) -> None:
    await folder.apply(schedule("tick", "1s", more="deletionPolicy: Disable"))
    await folder.apply("")
    await folder.apply(None)
    assert await sqlite.execute(_ROW) == [('{"every":"1s"}', 0, None, 2)]


@pytest.mark.parametrize(("policy", "left"), [("Delete", 1), ("Forget", 0)])
async def test_what_a_job_has_done_goes_only_where_that_is_said(
    folder: _Folder, sqlite: TestDatabase, policy: str, left: int
) -> None:
    more = f"deletionPolicy: {policy}"
    text = schedule("tick", "1s", more=more) + "---\n" + config("tick", "{a: 1}")
    await folder.apply(text.replace("config: {a: 1}}", f"config: {{a: 1}}, {more}}}"))
    await sqlite.execute("INSERT INTO job_state (job_id, status) VALUES ('tick', 'Scheduled')")
    await sqlite.execute(
        "INSERT INTO job_config_revision (job_id, revision, content_hash, schema_version, config_json, "
        "row_version) VALUES ('tick', 1, 'x', 1, '{}', 1)"
    )
    done, _ = await folder.apply(None)
    assert done == [
        f"deleted: {kind} of job 'tick', its row: {policy.lower()}"
        for kind in ("PikoSchedule", "PikoJobConfig")
    ]
    for table, rows in {
        "scheduled_job": 0,
        "job_config": 0,
        "job_state": left,
        "job_config_revision": left,
    }.items():
        assert await sqlite.execute(f"SELECT count(*) FROM {table}") == [(rows,)], table


async def test_a_row_of_sql_is_left_alone_unless_it_is_adopted(folder: _Folder, sqlite: TestDatabase) -> None:
    await sqlite.execute(
        "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr) "
        """VALUES ('tick', 'interval', '{"days":1}')"""
    )
    done, problems = await folder.apply(schedule("tick", "1s"))
    assert done == []
    assert ["belongs to SQL" in problem for problem in problems] == [True]
    assert (await sqlite.execute(_ROW))[0][0] == '{"days":1}'
    done, problems = await folder.apply(schedule("tick", "1s", more="adoptionPolicy: Adopt"))
    assert (done, problems) == (["changed: PikoSchedule tick in it.yaml"], [])
    assert (await sqlite.execute(_ROW))[0][0] == '{"every":"1s"}'


async def test_a_file_that_is_broken_from_the_start_keeps_its_rows(
    folder: _Folder, sqlite: TestDatabase
) -> None:
    await folder.apply(schedule("tick", "1s"))
    done, _ = await folder.apply("kind: PikoSchedule")
    assert done == []
    assert len(await sqlite.execute(_ROW)) == 1


async def test_a_config_says_that_secrets_need_a_cluster(folder: _Folder, sqlite: TestDatabase) -> None:
    text = config("tick", "{a: 1}").replace(
        "config: {a: 1}", "config: {a: 1}, configFrom: [{secretKeyRef: {name: s, key: k}}]"
    )
    done, problems = await folder.apply(text)
    assert done == ["new: PikoJobConfig tick in it.yaml"]
    [problem] = problems
    assert "spec.configFrom needs the Secrets and ConfigMaps of a cluster" in problem
    assert await sqlite.execute("SELECT config_json, updated_by FROM job_config") == [('{"a":1}', "piko-dev")]
