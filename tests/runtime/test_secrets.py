"""What runs and pages show of the secrets of configs and settings: nothing, wherever they are read."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from sqlalchemy.engine import make_url

from tests.harness.databases import TestDatabase
from tests.harness.ports import free_port
from tests.harness.waiting import PATIENCE_S, wait_until_async
from tests.runtime.replicas import Replicas, schedule, until_runs
from tests.web.addresses import API, Known, addresses

APP = """
from pydantic import BaseModel, SecretStr
from piko import PikoApp

app = PikoApp(name="trial")

class Login(BaseModel):
    user: str
    token: str
    pin: SecretStr

@app.job(job_id="login", schema=Login)
async def login(ctx, scheduled_time):
    config = ctx["config"]
    try:
        {}[config.token]
    except KeyError as error:
        raise ValueError(f"{config.user}: {config.token!r}, {config.pin.get_secret_value()}") from error
"""


async def test_no_secret_of_a_config_is_stored_or_logged(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    database = migrated_mariadb
    replicas.write(APP)
    await database.execute(
        "INSERT INTO job_config (job_id, config_json, secret_json) VALUES "
        """('login', '{"user": "somebody", "pin": "90210-pin"}', '{"token": "hunter2-token"}')"""
    )
    replica = replicas.start(database.dsn)
    await replica.until_ready()
    await schedule(database, "login")
    await until_runs(database, "login", 2, state="FAILED")
    ((error,), *_) = await database.execute("SELECT error FROM job_run WHERE state = 'FAILED'")
    assert error.startswith("ValueError: somebody: '***', ***\n")
    ((last_error,),) = await database.execute("SELECT last_error FROM job_state WHERE last_error IS NOT NULL")
    replica.process.terminate()
    for text in (error, last_error, replica.process.output):
        assert "hunter2" not in text
        assert "90210" not in text


SAYING = """
import logging, os
from pydantic import BaseModel, SecretStr
from piko import PikoApp, ResultSink
from piko.errors import PayloadError

app = PikoApp(name="trial")

class Login(BaseModel):
    token: str
    pin: SecretStr

class Quoting(ResultSink):
    async def write_batch(self, batch):
        raise PayloadError(f"cannot write {[item.payload for item in batch]}")

app.writer.register_sink(Quoting("quoting"))

@app.job(job_id="login", schema=Login)
async def login(ctx, scheduled_time):
    config = ctx["config"]
    dsn = os.environ["PIKO_MYSQL_DSN"]
    await ctx.write("quoting", "record", [config.token, config.pin.get_secret_value(), dsn])
    for text in (config.token, config.pin.get_secret_value(), dsn, os.environ["PIKO_WEB_SESSION_KEY"]):
        print("printed", text)
        logging.getLogger("theirs").warning("logged %s", text)
        ctx.log.info("said", what=text)
        ctx.record(seen=text)
    ctx.progress(1, 2, f"as {config.token} at {dsn}")
    raise ValueError(f"{config.token}, {config.pin.get_secret_value()}, {dsn}")

@app.job(job_id="untyped")
async def untyped(ctx, scheduled_time):
    pass

if __name__ == "__main__":
    app.run()
"""
_CONFIGS = {
    "login": ('{"pin": "hunter2-pin"}', '{"token": "hunter2-token"}'),
    "untyped": ('{"db": {"password": "hunter2-telling"}, "rows": 7}', '{"other": "hunter2-other"}'),
}


async def test_no_secret_of_a_config_or_a_setting_is_on_any_page(
    replicas: Replicas, migrated_mariadb: TestDatabase, tmp_path: Path
) -> None:
    port, as_ann = free_port(), {"Authorization": "Bearer hunter2-web-token"}
    hashed = hashlib.sha256(b"hunter2-web-token").hexdigest()
    (tmp_path / "operator").write_text(f"ann {hashed}\n")
    replicas.write(SAYING)
    async with _user_of(migrated_mariadb) as dsn:
        replica = replicas.start(
            dsn,
            environment={
                "PIKO_WEB_ENABLED": "true",
                "PIKO_WEB_PORT": str(port),
                "PIKO_WEB_ACCESS": "token",
                "PIKO_WEB_TOKENS_DIR": str(tmp_path),
                "PIKO_WEB_SESSION_KEY": "hunter2-session-key-of-32-letters",
                "THEIR_TOKEN": "hunter2-environment",
            },
        )
        await replica.until_ready()
        for job_id, (config, secret) in _CONFIGS.items():
            for rows in (1, 2):  # a second one is an edit, which has its line in change_log
                await migrated_mariadb.execute(
                    "REPLACE INTO job_config (job_id, config_json, secret_json) "
                    f"VALUES ('{job_id}', JSON_SET('{config}', '$.rows', {rows}), '{secret}')"
                )
            await schedule(migrated_mariadb, job_id)
        await until_runs(migrated_mariadb, "login", 1, state="FAILED")
        await until_runs(migrated_mariadb, "untyped", 1)
        await _until_edited(migrated_mariadb)
        run_id = await _logged(migrated_mariadb)
        letter, said = await _refused(migrated_mariadb)
        line = await wait_until_async(
            lambda: _line(replica.process.output, "dead_letter"), what="the line of a dead letter"
        )
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", headers=as_ann, timeout=PATIENCE_S
        ) as web:
            shown = await _everything(web, run_id, letter)
        replica.process.terminate()
    assert said.startswith("cannot write [['***', '***', 'mysql+asyncmy://")
    shown["its error in the database"] = said
    shown["its line in the log"] = line
    leaks = {place: text for place, text in shown.items() if "hunter2" in text or hashed in text}
    assert leaks == {}
    log = shown[f"/api/v1/runs/{run_id}/log application/json"]
    assert log.count("printed ***") >= 2, log
    assert "as *** at mysql+asyncmy://" in log
    assert '"rows":2' in shown["/api/v1/jobs/untyped/config application/json"].replace(" ", "")


async def _everything(web: httpx.AsyncClient, run_id: str, letter: str) -> dict[str, str]:
    """What each address answers, as a page and as JSON, to those who may read, and to others."""
    shown = {}
    known = Known(
        job="untyped",
        stateful="login",
        run=run_id,
        backfill="none",
        letter=letter,
        replica="none",
        sink="quoting",
        since="2026-01-08T00:00:00Z",
        until="2026-01-09T00:00:00Z",
    )
    more = (
        "/jobs/login",
        "/jobs/login/rollback-config",
        f"{API}/jobs/login/config",
        f"{API}/jobs/login/changes",
    )
    for place in (*addresses(known), *more, "/sign-in", f"{API}/openapi.json", "/metrics"):
        for accepted in ("text/html", "application/json"):
            shown[f"{place} {accepted}"] = (await web.get(place, headers={"Accept": accepted})).text
    wrong = {"config": {"pin": 1}}
    for number, (path, body) in enumerate(
        (
            ("/jobs/login:rollback-config", {"revision": 1, "dry_run": True}),
            ("/jobs/login:rollback-config", {"revision": 99}),
            ("/jobs/login:trigger", wrong),
            ("/jobs/untyped:trigger", {}),
        )
    ):
        for time in ("once", "again"):
            headers = {"Idempotency-Key": f"key-{number}"}
            shown[f"{path} {number} {time}"] = (await web.post(API + path, json=body, headers=headers)).text
    for token in ("", "Bearer hunter2-web-tokens", "Basic hunter2"):
        shown[f"as {token}"] = (await web.get(f"{API}/jobs", headers={"Authorization": token})).text
    return shown


async def _until_edited(database: TestDatabase) -> None:
    """Wait until the leader has seen the second config of `untyped`."""

    async def seen() -> bool:
        rows = await database.execute("SELECT config_json FROM job_config_revision WHERE job_id = 'untyped'")
        return any(json.loads(config)["rows"] == 2 for (config,) in rows)

    await wait_until_async(seen, what="the revision of the second config")


async def _logged(database: TestDatabase) -> str:
    """The id of a run of `login` of which lines, progress and result are kept."""

    async def found() -> str | None:
        rows = await database.execute(
            "SELECT run_id FROM run_log WHERE job_id = 'login' AND head IS NOT NULL "
            "AND progress_text IS NOT NULL AND result IS NOT NULL LIMIT 1"
        )
        return str(rows[0][0]) if rows else None

    return await wait_until_async(found, what="a log of login")


async def _refused(database: TestDatabase) -> tuple[str, str]:
    """The id and the error of a dead letter."""

    async def found() -> tuple[str, str] | None:
        rows = await database.execute("SELECT letter_id, error FROM dead_letter LIMIT 1")
        return tuple(rows[0]) if rows else None

    return await wait_until_async(found, what="a dead letter of login")


def _line(output: str, event: str) -> str | None:
    whole = output.splitlines(keepends=True)
    return next((line for line in whole if f'"event": "{event}"' in line and line.endswith("\n")), None)


@asynccontextmanager
async def _user_of(database: TestDatabase) -> AsyncIterator[str]:
    """The DSN of a user of the database who has a password."""
    name, password = f"piko_{secrets.token_hex(4)}", "hunter2-of-the-dsn"
    users = " , ".join(f"'{name}'@'{host}' IDENTIFIED BY '{password}'" for host in ("%", "localhost"))
    url = make_url(database.dsn)
    await database.execute(f"CREATE USER {users}")
    try:
        for host in ("%", "localhost"):
            await database.execute(f"GRANT ALL ON {url.database}.* TO '{name}'@'{host}'")
        yield url.set(username=name, password=password).render_as_string(hide_password=False)
    finally:
        await database.execute(f"DROP USER '{name}'@'%', '{name}'@'localhost'")
