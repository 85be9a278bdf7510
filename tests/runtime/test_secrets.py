"""What a handler's exception shows of its config's secrets: nothing, wherever it is read."""

from __future__ import annotations

from tests.harness.databases import TestDatabase
from tests.runtime.replicas import Replicas, schedule, until_runs

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
