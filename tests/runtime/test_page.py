"""A replica serves the page too, if a setting says so: beside its jobs, and without feeling theirs."""

from __future__ import annotations

import json

from tests.harness.databases import TestDatabase
from tests.harness.ports import free_port
from tests.runtime.replicas import Replica, Replicas, schedule

BLOCKING = """
import time
from piko import PikoApp

app = PikoApp(name="blocking")

@app.job(job_id="quick")
async def quick(ctx, scheduled_time):
    print("blocks", flush=True)
    time.sleep(600)

if __name__ == "__main__":
    app.run()
"""


async def test_the_page_answers_while_a_handler_blocks_the_loop_of_the_jobs(
    migrated_mariadb: TestDatabase, replicas: Replicas
) -> None:
    port = free_port()
    replicas.write(BLOCKING)
    page_too = {"PIKO_WEB_ENABLED": "true", "PIKO_WEB_PORT": str(port)}
    replica = replicas.start(migrated_mariadb.dsn, environment=page_too)
    page = Replica(process=replica.process, port=port)
    await page.until("/metrics", 200, "piko_")
    await schedule(migrated_mariadb, "quick")
    replica.process.wait_for_line('"event": "blocks"')
    status, text = page.get("/api/v1/jobs/quick")
    assert (status, json.loads(text)["job_id"]) == (200, "quick")
    assert page.get("/", accept="text/html")[0] == 200
    assert "piko_job_run_total" in page.get("/metrics")[1]


async def test_a_replica_serves_no_page_unless_a_setting_says_so(
    migrated_mariadb: TestDatabase, replicas: Replicas
) -> None:
    port = free_port()
    replica = replicas.start(migrated_mariadb.dsn, environment={"PIKO_WEB_PORT": str(port)})
    await replica.until_ready()
    assert Replica(process=replica.process, port=port).get("/") == (0, "")
