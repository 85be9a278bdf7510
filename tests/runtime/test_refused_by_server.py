"""A server that refuses, at the start or later, ends no replica: it waits, says why, and goes on."""

from __future__ import annotations

import pytest
from sqlalchemy.engine import make_url

from tests.harness.database_servers import DatabaseServer
from tests.harness.databases import TestDatabase, migrate
from tests.harness.waiting import wait_until_async
from tests.runtime.replicas import Replicas, schedule, until_runs

RIGHTS = "SELECT, INSERT, UPDATE, DELETE"


async def for_an_app(server: DatabaseServer) -> tuple[TestDatabase, str]:
    """A database with Piko's tables, and the DSN of a user who may use them and nothing else."""
    database = await server.create_database()
    await migrate(database)
    url = make_url(database.dsn)
    await database.execute("CREATE USER 'app'@'%' IDENTIFIED BY 'app'")
    await database.execute(f"GRANT {RIGHTS} ON {url.database}.* TO 'app'@'%'")
    beyond = url.set(username="app", password="app")
    return database, beyond.render_as_string(hide_password=False)


async def connections(database: TestDatabase) -> set[int]:
    rows = await database.execute("SELECT id FROM information_schema.processlist WHERE user = 'app'")
    return {row[0] for row in rows}


async def test_a_read_only_server_is_waited_for_and_its_connections_are_thrown_away(
    own_mariadb: DatabaseServer, replicas: Replicas
) -> None:
    database, dsn = await for_an_app(own_mariadb)
    await schedule(database, "quick")
    await database.execute("SET GLOBAL read_only = 1")
    replica = replicas.start(dsn)
    await replica.until("/readyz", 503, "--read-only")
    await replica.until("/readyz", 503, "make the server writable")
    assert replica.get("/healthz")[0] == 200
    await database.execute("SET GLOBAL read_only = 0")
    await replica.until_ready()
    await until_runs(database, "quick", 2)

    before = await connections(database)
    await database.execute("SET GLOBAL read_only = 1")  # a planned failover demotes it
    await replica.until("/readyz", 503, "--read-only")
    assert replica.get("/healthz")[0] == 200

    async def all_new() -> bool:
        now = await connections(database)
        return bool(now) and not now & before

    await wait_until_async(all_new, what="the connections to the demoted server to be given up")
    done = len(await until_runs(database, "quick", 2))
    await database.execute("SET GLOBAL read_only = 0")
    await replica.until_ready()
    await until_runs(database, "quick", done + 2)
    assert replica.process.running


@pytest.mark.parametrize("table", ["runtime_instance", "job_definition"])
async def test_a_right_that_is_missing_at_the_start_is_waited_for(
    table: str, own_mariadb: DatabaseServer, replicas: Replicas
) -> None:
    database, dsn = await for_an_app(own_mariadb)
    name = make_url(dsn).database
    tables = [row[0] for row in await database.execute("SHOW TABLES")]
    await database.execute(f"REVOKE ALL PRIVILEGES ON {name}.* FROM 'app'@'%'")
    for each in tables:
        rights = "SELECT" if each == table else RIGHTS
        await database.execute(f"GRANT {rights} ON {name}.{each} TO 'app'@'%'")
    replica = replicas.start(dsn)
    await replica.until("/readyz", 503, "command denied to user 'app'")
    await replica.until("/readyz", 503, "GRANT it SELECT, INSERT, UPDATE and DELETE")
    assert replica.process.running
    await database.execute(f"GRANT {RIGHTS} ON {name}.{table} TO 'app'@'%'")
    await replica.until_ready()


async def test_whatever_a_server_refuses_at_the_start_is_waited_for(
    own_mariadb: DatabaseServer, replicas: Replicas
) -> None:
    database, dsn = await for_an_app(own_mariadb)
    await database.execute(  # error 4025, which is on no list
        "ALTER TABLE runtime_instance ADD CONSTRAINT nobody_begins CHECK (pid < 0)"
    )
    replica = replicas.start(dsn)
    await replica.until("/readyz", 503, "nobody_begins")
    assert replica.process.running
    await database.execute("ALTER TABLE runtime_instance DROP CONSTRAINT nobody_begins")
    await replica.until_ready()
    assert "Traceback" not in replica.process.output


async def test_a_right_that_is_taken_away_later_is_said_and_waited_for(
    own_mariadb: DatabaseServer, replicas: Replicas
) -> None:
    database, dsn = await for_an_app(own_mariadb)
    name = make_url(dsn).database
    await schedule(database, "quick")
    replica = replicas.start(dsn)
    await replica.until_ready()
    await until_runs(database, "quick", 1)
    await database.execute(f"REVOKE INSERT, UPDATE ON {name}.* FROM 'app'@'%'")
    await replica.until("/readyz", 503, "command denied to user 'app'")
    done = len(await until_runs(database, "quick", 1))
    await database.execute(f"GRANT {RIGHTS} ON {name}.* TO 'app'@'%'")
    await replica.until_ready()
    await until_runs(database, "quick", done + 2)
