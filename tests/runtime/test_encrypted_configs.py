"""Secret parts of configs that are encrypted at rest: what replicas do with the key, and without it."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from piko.store.schema.tables.metadata import metadata
from tests.harness.databases import TestDatabase
from tests.harness.waiting import wait_until_async
from tests.runtime.replicas import Replica, Replicas, schedule, until_runs

APP = """
from pydantic import BaseModel, SecretStr
from piko import PikoApp

app = PikoApp(name="trial")

class Login(BaseModel):
    user: str = "nobody"
    token: SecretStr = SecretStr("")

@app.job(job_id="login", schema=Login)
async def login(ctx, scheduled_time):
    print("logged in as", ctx.config.user, len(ctx.config.token.get_secret_value()), flush=True)

@app.job(job_id="other")
async def other(ctx, scheduled_time):
    pass
"""
OLD, NEW = (base64.b64encode(letter * 32).decode() for letter in (b"o", b"n"))
TOKEN = "hunter2-token"


def _keys(*keys: str) -> Mapping[str, str]:
    return {"PIKO_CONFIG_KEY": ",".join(keys)} if keys else {}


async def _start(replicas: Replicas, database: TestDatabase, *keys: str) -> Replica:
    replica = replicas.start(database.dsn, environment=_keys(*keys))
    await replica.until_ready()
    return replica


async def _until_message(database: TestDatabase, part: str) -> None:
    async def said() -> bool:
        rows = await database.execute("SELECT status, message FROM job_state WHERE job_id = 'login'")
        return bool(rows) and rows[0][0] == "WaitingForConfig" and part in str(rows[0][1])

    await wait_until_async(said, what=f"a job that waits because {part}")


async def _dump(database: TestDatabase) -> str:
    return repr([await database.execute(f"SELECT * FROM {table.name}") for table in metadata.sorted_tables])


def _stop(replica: Replica) -> str:
    replica.process.terminate()
    return replica.process.output


async def test_a_job_waits_for_the_key_of_its_config_and_no_other_job_does(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    database = migrated_mariadb
    replicas.write(APP)
    await database.execute(
        "INSERT INTO job_config (job_id, config_json, secret_json) "
        f"""VALUES ('login', '{{"user": "ada"}}', '{{"token": "{TOKEN}"}}')"""
    )
    await schedule(database, "login")
    await schedule(database, "other")

    # A row in plain text works with a key, too; what the runtime keeps of it is encrypted.
    first = await _start(replicas, database, OLD)
    await until_runs(database, "login", 1)
    ((kept,),) = await database.execute("SELECT secret_json FROM job_config_revision")
    assert "$encrypted" in kept
    printed = [_stop(first)]
    done = _encrypt(replicas, database, OLD)
    assert "encrypted: secret parts of 1 configs and of 0 revisions" in done
    assert TOKEN not in await _dump(database)

    # Without the key, and with another one, this job alone waits.
    for keys in ((), (NEW,)):
        without = await _start(replicas, database, *keys)
        await _until_message(database, "is encrypted with the key ")
        before = len(await until_runs(database, "other", 1))
        await until_runs(database, "other", before + 1)
        printed.append(_stop(without))
    failed = await database.execute(
        "SELECT COUNT(*) FROM job_run WHERE job_id = 'login' AND state = 'FAILED'"
    )
    assert failed == [(0,)]

    # With both it goes on, and a key is replaced while it does.
    runs = len(await until_runs(database, "login", 1))
    both = await _start(replicas, database, NEW, OLD)
    await until_runs(database, "login", runs + 1)
    printed.append(_encrypt(replicas, database, NEW, OLD))
    printed.append(_stop(both))
    runs = len(await until_runs(database, "login", 1))
    alone = await _start(replicas, database, NEW)
    await until_runs(database, "login", runs + 1)
    printed.append(_stop(alone))
    assert await database.execute("SELECT COUNT(*) FROM job_config_revision") == [(1,)]
    used = [text for text in printed if f"logged in as ada {len(TOKEN)}" in text]
    assert len(used) == 3, "with the key, with both, and with the new one"
    for text in (*printed, await _dump(database)):
        assert TOKEN not in text
        assert OLD not in text
        assert NEW not in text


def _encrypt(replicas: Replicas, database: TestDatabase, *keys: str) -> str:
    """What `piko config encrypt` prints."""
    process = replicas.start(
        database.dsn, "-m", "piko", "config", "encrypt", name="encrypt", environment=_keys(*keys)
    ).process
    assert process.wait() == 0, process.output
    return process.output
