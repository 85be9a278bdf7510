"""Secret parts of configs at rest: encrypted in rows and revisions, in plain text nowhere."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from piko.config_keys import NO_KEYS, ConfigKeys
from piko.errors import RefusedError
from piko.model.managed import Change, ManagedConfig, Verb
from piko.steering.configs import rollback
from piko.steering.encryption import encrypt
from piko.store.configs import ConfigStore
from piko.store.engine import Database
from piko.store.managed import managed_configs
from piko.store.schema.tables.metadata import metadata
from tests.harness.databases import TestDatabase
from tests.store.making import ACTOR, lead
from tests.store.test_reading import make_revision

OLD, NEW = ConfigKeys([b"o" * 32]), ConfigKeys([b"n" * 32, b"o" * 32])
SECRET = '{"password":"hunter2"}'
_ROW = ManagedConfig(
    job_id="job",
    schema_version=1,
    config_json='{"a":1}',
    secret_json=SECRET,
    effective_from=None,
    updated_by=None,
    managed_by="c/ns/n/1",
)


async def everything(database: TestDatabase) -> str:
    """What a dump of all tables holds."""
    return repr([await database.execute(f"SELECT * FROM {table.name}") for table in metadata.sorted_tables])


async def secrets(database: TestDatabase) -> list[str]:
    rows = await database.execute("SELECT secret_json FROM job_config")
    kept = await database.execute("SELECT secret_json FROM job_config_revision")
    return [text for (text,) in (*rows, *kept)]


def _with(store: Database, keys: ConfigKeys) -> Database:
    return replace(store, config_keys=keys)


async def _write(store: Database, row: ManagedConfig, *, verb: Verb = Verb.CREATE) -> None:
    table = managed_configs(store)
    seen = (await table.read([row.job_id])).get(row.job_id)
    await table.apply([Change(verb=verb, job_id=row.job_id, row=row, seen=seen)])


async def test_what_a_resource_and_the_runtime_write_is_encrypted_and_read_back(
    store: Database, emptied_database: TestDatabase
) -> None:
    sealing = _with(store, OLD)
    await _write(sealing, _ROW)
    revision = make_revision(secret_json=SECRET)
    await ConfigStore(database=sealing).record([revision], await lead(store))
    assert "hunter2" not in await everything(emptied_database)
    assert all("$encrypted" in json.loads(text) for text in await secrets(emptied_database))
    assert (await managed_configs(sealing).read(["job"]))["job"].row == _ROW
    configs = ConfigStore(database=sealing)
    assert [row.secret_json for row in await configs.read(["job"])] == [SECRET]
    assert [item.secret_json for item in await configs.revisions(["job"])] == [SECRET]
    (newest,) = await configs.newest_revisions("job", before=None, most=1)
    assert newest.secret_json == SECRET
    assert newest.content_hash != revision.content_hash, "a hash of the plain text is stored"


async def test_without_the_key_the_rest_is_read_and_what_is_missing_is_said(
    store: Database, emptied_database: TestDatabase
) -> None:
    await _write(_with(store, OLD), _ROW)
    for keys in (NO_KEYS, ConfigKeys([b"x" * 32])):
        (row,) = await ConfigStore(database=_with(store, keys)).read(["job"])
        assert row.config_json == '{"a":1}'
        assert f"is encrypted with the key {OLD.ids[0]}" in str(row.secret_unreadable)
        held = (await managed_configs(_with(store, keys)).read(["job"]))["job"]
        assert held.secret_unreadable == row.secret_unreadable


async def test_a_copy_in_the_row_of_another_job_is_not_read(
    store: Database, emptied_database: TestDatabase
) -> None:
    await _write(_with(store, OLD), _ROW)
    await emptied_database.execute(
        "INSERT INTO job_config (job_id, config_json, secret_json) "
        "SELECT 'thief', '{}', secret_json FROM job_config WHERE job_id = 'job'"
    )
    (row,) = await ConfigStore(database=_with(store, OLD)).read(["thief"])
    assert "but for another job" in str(row.secret_unreadable)
    assert "hunter2" not in str(row.secret_json)


async def test_a_secret_that_did_not_change_is_stored_as_the_same_text(
    store: Database, emptied_database: TestDatabase
) -> None:
    sealing = _with(store, OLD)
    await _write(sealing, _ROW)
    before = await secrets(emptied_database)
    await _write(sealing, replace(_ROW, config_json='{"a":2}'), verb=Verb.REPLACE)
    assert await secrets(emptied_database) == before
    lines = await emptied_database.execute("SELECT after FROM change_log ORDER BY change_id DESC LIMIT 1")
    assert "secret_json" not in str(lines)


async def _plain_ones(store: Database, database: TestDatabase) -> None:
    """A row of SQL, a row of a resource and a revision from the time before there was a key; one without."""
    await database.execute(
        f"INSERT INTO job_config (job_id, config_json, secret_json) VALUES ('sql', '{{}}', '{SECRET}')"
    )
    await database.execute("INSERT INTO job_config (job_id, config_json) VALUES ('none', '{}')")
    await _write(store, _ROW)
    await ConfigStore(database=store).record([make_revision(secret_json=SECRET)], await lead(store))


async def test_plain_ones_are_read_with_a_key_and_encrypted_on_request(
    store: Database, emptied_database: TestDatabase
) -> None:
    await _plain_ones(store, emptied_database)
    sealing = _with(store, OLD)
    rows = await ConfigStore(database=sealing).read(["sql", "job"])
    assert [row.secret_json for row in rows] == [SECRET, SECRET]
    trial = await encrypt(sealing, actor=ACTOR, dry_run=True)
    assert (trial.jobs, trial.revisions, trial.unreadable) == (["job", "sql"], 1, {})
    assert "hunter2" in await everything(emptied_database)
    versions = await emptied_database.execute("SELECT job_id, version FROM job_config")
    done = await encrypt(sealing, actor=ACTOR)
    assert (done.jobs, done.revisions) == (["job", "sql"], 1)
    assert "hunter2" not in await everything(emptied_database)
    assert await emptied_database.execute("SELECT job_id, version FROM job_config") == versions
    rows = await ConfigStore(database=sealing).read(["sql", "job"])
    assert [row.secret_json for row in rows] == [SECRET, SECRET]
    assert (await managed_configs(sealing).read(["job"]))["job"].row == _ROW
    lines = await emptied_database.execute(
        "SELECT job_id, via FROM change_log WHERE what = 'encrypt_config' ORDER BY job_id"
    )
    assert lines == [("job", ACTOR.via), ("sql", ACTOR.via)]
    again = await encrypt(sealing, actor=ACTOR)
    assert (again.jobs, again.revisions) == ([], 0)


async def test_after_a_rotation_the_old_key_is_needed_by_nothing(
    store: Database, emptied_database: TestDatabase
) -> None:
    await _plain_ones(store, emptied_database)
    await encrypt(_with(store, OLD), actor=ACTOR)
    await encrypt(_with(store, NEW), actor=ACTOR)
    alone = _with(store, ConfigKeys([b"n" * 32]))
    rows: list[Any] = await ConfigStore(database=alone).read(["sql", "job"])
    rows += await ConfigStore(database=alone).revisions(["job"])
    assert [row.secret_json for row in rows] == [SECRET] * 3


async def test_more_than_a_page_is_encrypted(store: Database, emptied_database: TestDatabase) -> None:
    jobs = [f"job-{number:03d}" for number in range(205)]
    values = ", ".join(f"('{job}', '{{}}', '{SECRET}')" for job in jobs)
    await emptied_database.execute(
        f"INSERT INTO job_config (job_id, config_json, secret_json) VALUES {values}"
    )
    assert (await encrypt(_with(store, OLD), actor=ACTOR)).jobs == jobs
    assert "hunter2" not in await everything(emptied_database)


async def test_what_cannot_be_read_is_left_and_named(store: Database, emptied_database: TestDatabase) -> None:
    await _write(_with(store, ConfigKeys([b"x" * 32])), _ROW)
    before = await secrets(emptied_database)
    found = await encrypt(_with(store, OLD), actor=ACTOR)
    assert (found.jobs, list(found.unreadable)) == ([], ["job"])
    assert await secrets(emptied_database) == before


async def test_without_a_key_nothing_can_be_encrypted(store: Database) -> None:
    with pytest.raises(RefusedError, match="set PIKO_CONFIG_KEY, expected 32 random bytes in base64"):
        await encrypt(store, actor=ACTOR)


async def test_a_rollback_writes_the_secret_encrypted(
    store: Database, emptied_database: TestDatabase
) -> None:
    sealing = _with(store, OLD)
    await ConfigStore(database=sealing).record(
        [make_revision(secret_json=SECRET, effective_from=None)], await lead(store)
    )
    for by in (sealing, store):  # without the key, too: what is encrypted is copied as it is
        await rollback(by, "job", 1, actor=ACTOR)
        assert "hunter2" not in await everything(emptied_database)
        (row,) = await ConfigStore(database=sealing).read(["job"])
        assert row.secret_json == SECRET
