"""The operator between a real API server and a real MariaDB."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.cli.piko import piko_here
from tests.harness.database_servers import DatabaseServer
from tests.harness.databases import TestDatabase
from tests.harness.waiting import PATIENTLY, wait_until, wait_until_async
from tests.operator.conftest import World, create_tables, grant
from tests.operator.tenants import resource
from tests.serving.sockets import answer_of

_SECRETS = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]


def _get(world: World, path: str) -> tuple[int, str]:
    return answer_of(world.port, path)


async def test_a_schedule_lives_as_a_row_from_apply_to_delete(world: World) -> None:
    world.start()
    world.apply("PikoSchedule", "s", jobId="job", schedule={"cron": "*/5 * * * *"}, timeZone="Asia/Shanghai")
    await world.until_condition("psch", "s", "Synced", reason="Synced")
    body = world.read("psch", "s")
    owner = f"test/{world.namespace}/s/{body['metadata']['uid']}"
    columns = "schedule_type, schedule_expr, timezone, enabled, version, managed_by"
    query = f"SELECT {columns} FROM scheduled_job WHERE job_id = 'job'"
    assert [tuple(row) for row in await world.database.execute(query)] == [
        ("cron", '{"cron":"*/5 * * * *"}', "Asia/Shanghai", 1, 1, owner)
    ]
    assert body["metadata"]["finalizers"] == ["piko.dev/finalizer"]
    assert list(body["metadata"]["annotations"]) == ["kubectl.kubernetes.io/last-applied-configuration"]
    await world.until_condition("psch", "s", "Ready", reason="Pending")
    shown = json.loads(world.kubectl("get", "psch", "s", "-o", "json", "--show-managed-fields"))
    written = {(item["manager"], item.get("subresource")) for item in shown["metadata"]["managedFields"]}
    assert {item for item in written if not item[0].startswith("kubectl")} == {
        ("piko-operator", None),  # its finalizer
        ("piko-operator", "status"),
    }

    world.apply("PikoSchedule", "s", jobId="job", schedule={"interval": {"every": "10s"}}, suspend=True)
    await world.until_row(
        "SELECT schedule_type, schedule_expr, timezone, enabled, version FROM scheduled_job",
        [("interval", '{"every":"10s"}', None, 0, 2)],
    )

    await world.database.execute("INSERT INTO job_state (job_id, status) VALUES ('job', 'Disabled')")
    await world.database.execute(
        "INSERT INTO job_run (run_id, job_id, scheduled_time, state) VALUES ('r', 'job', NOW(6), 'SUCCESS')"
    )
    world.kubectl("delete", "psch", "s", PATIENTLY)
    assert await world.database.execute("SELECT * FROM scheduled_job") == []
    kept = await world.database.execute("SELECT job_id FROM job_state")
    assert [tuple(row) for row in kept] == [("job",)], "how far the job had come outlives its row"
    assert len(await world.database.execute("SELECT * FROM job_run")) == 1


async def test_a_config_lives_as_a_row_from_apply_to_delete(world: World) -> None:
    world.start()
    world.apply("PikoJobConfig", "c", jobId="job", config={"b": 1, "a": [True]}, schemaVersion=2)
    await world.until_condition("pjc", "c", "Synced", reason="Synced")
    await world.until_row(
        "SELECT config_json, secret_json, schema_version, version FROM job_config",
        [('{"a":[true],"b":1}', None, 2, 1)],
    )
    valid = await world.until_condition("pjc", "c", "Valid", reason="Pending")
    assert valid["status"] == "Unknown"

    await world.database.execute(
        "INSERT INTO job_config_revision"
        " (job_id, revision, content_hash, schema_version, config_json, row_version)"
        " VALUES ('job', 1, 'h', 2, '{}', 1)"
    )
    await world.until_condition("pjc", "c", "Effective", reason="InForce")
    assert world.condition("pjc", "c", "Valid")["status"] == "True"

    world.apply("PikoJobConfig", "c", jobId="job", config={"b": "no"}, schemaVersion=2)
    await world.until_row("SELECT version FROM job_config", [(2,)])
    await world.database.execute(
        "INSERT INTO job_config_revision"
        " (job_id, revision, content_hash, schema_version, config_json, row_version, error)"
        " VALUES ('job', 2, 'i', 2, '{}', 2, 'b: expected a number')"
    )
    valid = await world.until_condition("pjc", "c", "Valid", reason="Invalid")
    assert valid["message"] == "b: expected a number"
    status = world.read("pjc", "c")["status"]
    assert (status["revision"], status["effectiveRevision"]) == (2, 1)
    world.kubectl("delete", "pjc", "c", PATIENTLY)
    assert await world.database.execute("SELECT * FROM job_config") == []


async def test_the_runtimes_summary_becomes_status(world: World) -> None:
    world.start()
    world.apply("PikoSchedule", "s", jobId="job", schedule={"cron": "@hourly"})
    await world.until_condition("psch", "s", "Ready", reason="Pending")
    await world.database.execute(
        "INSERT INTO job_state (job_id, status, observed_version, next_run_at, last_run_id, last_state,"
        " last_scheduled_time, last_started_at, last_duration_s, last_success_at, last_error,"
        " last_failure_at, consecutive_failures)"
        " VALUES ('job', 'Scheduled', 1, '2030-01-01 01:00:00', 'run-1', 'FAILED', '2030-01-01 00:00:00',"
        " '2030-01-01 00:00:00.5', 61.25, '2029-12-31 23:00:00', 'it broke',"
        " '2030-01-01 00:01:01', 2)"
    )
    await world.database.execute("UPDATE scheduled_job SET last_data_time = '2030-01-01 00:00:00'")
    await world.until_condition("psch", "s", "Ready", reason="Scheduled")
    status = wait_until(
        lambda: s if "dataWatermark" in (s := world.read("psch", "s")["status"]) else None,
        what="the watermark",
    )
    assert status["nextRunTime"] == "2030-01-01T01:00:00Z"
    assert status["lastSuccessTime"] == "2029-12-31T23:00:00Z"
    assert status["lastFailureTime"] == "2030-01-01T00:01:01Z"
    assert status["consecutiveFailures"] == 2
    assert status["dataWatermark"] == "2030-01-01T00:00:00Z"
    assert status["lastRun"] == {
        "runId": "run-1",
        "state": "FAILED",
        "scheduledTime": "2030-01-01T00:00:00Z",
        "startTime": "2030-01-01T00:00:00.500000Z",
        "duration": "1m1.25s",
        "message": "it broke",
    }
    assert world.events("DriftCorrected") == [], "the watermark is the runtime's and never drift"

    await world.database.execute("UPDATE job_state SET status = 'Invalid', message = 'cron never fires'")
    condition = await world.until_condition("psch", "s", "Ready", reason="Invalid")
    assert (condition["status"], condition["message"]) == ("False", "cron never fires")
    assert "nextRunTime" not in world.read("psch", "s")["status"]

    await world.database.execute(
        "UPDATE job_state SET given_up_from = '2030-01-01', given_up_to = '2030-01-01 04:00:00'"
    )
    reported = await world.until_condition("psch", "s", "DataGivenUp", reason="BeyondBound")
    line = "piko backfill job --from 2030-01-01T00:00:00Z --to 2030-01-01T04:00:00Z"
    assert reported["message"].endswith(line)
    wait_until(lambda: world.events("DataGivenUp") == [reported["message"]], what="an event, once")


async def test_a_row_of_sql_is_left_alone_until_adoption_is_asked_for(world: World) -> None:
    await world.database.execute(
        "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr, priority)"
        " VALUES ('job', 'cron', '{\"cron\":\"@daily\"}', 9)"
    )
    world.start()
    world.apply("PikoSchedule", "s", jobId="job", schedule={"cron": "@hourly"})
    refused = await world.until_condition("psch", "s", "Synced", reason="RowNotManaged")
    assert refused["status"] == "False"
    assert "set spec.adoptionPolicy to Adopt" in refused["message"]
    query = "SELECT priority, version, managed_by IS NULL FROM scheduled_job"
    assert [tuple(row) for row in await world.database.execute(query)] == [(9, 1, 1)]

    world.apply("PikoSchedule", "s", jobId="job", schedule={"cron": "@hourly"}, adoptionPolicy="Adopt")
    await world.until_condition("psch", "s", "Synced", reason="Synced")
    await world.until_row(query, [(0, 2, 0)])
    (message,) = await wait_until_async(lambda: world.events("Adopted"), what="the event")
    assert "priority=9" in message


async def test_of_two_resources_for_one_job_the_first_keeps_the_row(world: World) -> None:
    world.start()
    world.apply("PikoSchedule", "first", jobId="job", schedule={"cron": "@hourly"})
    await world.until_condition("psch", "first", "Synced", reason="Synced")
    world.apply("PikoSchedule", "second", jobId="job", schedule={"cron": "@daily"})
    conflict = await world.until_condition("psch", "second", "Synced", reason="Conflict")
    assert f"belongs to test/{world.namespace}/first/" in conflict["message"]
    world.kubectl("delete", "psch", "second", PATIENTLY)
    await world.until_row("SELECT schedule_expr, version FROM scheduled_job", [('{"cron":"@hourly"}', 1)])

    world.apply("PikoSchedule", "second", jobId="job", schedule={"cron": "@daily"})
    await world.until_condition("psch", "second", "Synced", reason="Conflict")
    world.kubectl("delete", "psch", "first", PATIENTLY)
    await world.until_condition("psch", "second", "Synced", reason="Synced")
    await world.until_row("SELECT schedule_expr FROM scheduled_job", [('{"cron":"@daily"}',)])


async def test_an_edit_by_sql_is_put_back_or_shown_as_the_policy_says(world: World) -> None:
    world.start()
    world.apply("PikoSchedule", "strict", jobId="strict", schedule={"cron": "@hourly"})
    world.apply(
        "PikoSchedule", "lenient", jobId="lenient", schedule={"cron": "@hourly"}, driftPolicy="Observe"
    )
    for name in ("strict", "lenient"):
        await world.until_condition("psch", name, "Synced", reason="Synced")
    await world.database.execute("UPDATE scheduled_job SET priority = 5")
    await world.until_row("SELECT priority FROM scheduled_job WHERE job_id = 'strict'", [(0,)])
    drifted = await world.until_condition("psch", "lenient", "Drifted", reason="RowEdited")
    assert "priority is 5 instead of 0" in drifted["message"]
    (message,) = await wait_until_async(lambda: world.events("DriftCorrected"), what="the event")
    assert "restored priority from 5 to 0" in message
    world.apply(
        "PikoSchedule", "lenient", jobId="lenient", schedule={"cron": "@daily"}, driftPolicy="Observe"
    )
    await world.until_row("SELECT priority FROM scheduled_job WHERE job_id = 'lenient'", [(0,)])

    await world.database.execute("DELETE FROM scheduled_job WHERE job_id = 'strict'")
    await world.until_row("SELECT priority FROM scheduled_job WHERE job_id = 'strict'", [(0,)])


async def test_an_event_that_says_the_same_again_is_counted(world: World) -> None:
    world.start()
    world.apply("PikoSchedule", "s", jobId="job", schedule={"cron": "@hourly"})
    await world.until_condition("psch", "s", "Synced", reason="Synced")

    def counts() -> list[int]:
        items = json.loads(world.kubectl("get", "events", "-o", "json"))["items"]
        return [item["count"] for item in items if item["reason"] == "DriftCorrected"]

    await world.database.execute("UPDATE scheduled_job SET priority = 5")
    await wait_until_async(lambda: counts() == [1], what="the event")
    await world.database.execute("UPDATE scheduled_job SET priority = 5")
    await wait_until_async(lambda: counts() == [2], what="the same event, seen twice")


async def test_drift_is_put_back_while_statuses_wait_for_their_turn(world: World) -> None:
    world.start(PIKO_OPERATOR_STATUS_WRITES_PER_S="1")
    names = [f"s-{number}" for number in range(200)]
    items = [resource("PikoSchedule", name, jobId=name, schedule={"cron": "@hourly"}) for name in names]
    world.kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    await world.until_row("SELECT COUNT(*) FROM scheduled_job", [(200,)])
    await world.database.execute("UPDATE scheduled_job SET priority = 5")
    await world.until_row("SELECT COUNT(*) FROM scheduled_job WHERE priority = 5", [(0,)])
    shown = json.loads(world.kubectl("get", "psch", "-o", "json"))["items"]
    waiting = [item for item in shown if item["status"]["observedGeneration"] == -1]
    assert waiting, "no status of some was written yet"


async def test_the_change_log_names_who_wrote_a_resource_and_what_the_operator_put_back(world: World) -> None:
    world.start()
    world.apply("PikoSchedule", "s", jobId="job", schedule={"cron": "@hourly"})
    await world.until_condition("psch", "s", "Synced", reason="Synced")
    created = datetime.fromisoformat(world.read("psch", "s")["metadata"]["creationTimestamp"])
    second = timedelta(seconds=1)  # the API server keeps no finer time of who wrote what
    await wait_until_async(lambda: datetime.now(UTC) >= created + second, what="another second")
    suspend = ("--type=merge", "-p", '{"spec": {"suspend": true}}')
    world.kubectl("patch", "psch", "s", *suspend, "--field-manager=night-shift")
    await world.until_row("SELECT enabled FROM scheduled_job", [(0,)])
    await world.until_condition("psch", "s", "Synced", reason="Synced")
    await world.database.execute("UPDATE scheduled_job SET priority = 5")
    await world.until_row("SELECT priority FROM scheduled_job", [(0,)])
    world.kubectl("delete", "psch", "s", PATIENTLY)
    lines = await world.database.execute(
        "SELECT who, via, what, `after`, reason FROM change_log ORDER BY change_id"
    )
    assert [tuple(line[:3]) for line in lines] == [
        ("kubectl-client-side-apply", "resource", "create_schedule"),
        ("night-shift", "resource", "pause"),
        ("unknown", "sql", "edit_schedule"),
        ("piko-operator", "resource", "edit_schedule"),
        ("pikoschedule/s", "resource", "delete_schedule"),
    ]
    assert json.loads(lines[1][3]) == {"enabled": False}
    assert json.loads(lines[3][3]) == {"priority": 0}
    named = f"PikoSchedule {world.namespace}/s of cluster"
    assert all(named in line[4] for line in (*lines[:2], *lines[3:]))
    assert lines[1][4].endswith("generation 2")


async def test_status_finds_drift_and_prints_the_command_that_puts_the_row_back(
    world: World, tmp_path: Path
) -> None:
    world.start()
    world.apply("PikoSchedule", "s", jobId="job", schedule={"cron": "@hourly"}, driftPolicy="Observe")
    await world.until_condition("psch", "s", "Synced", reason="Synced")
    await world.database.execute("UPDATE scheduled_job SET priority = 5")

    async def found() -> dict[str, str] | None:
        words = ("status", "-o", "json")
        answer = await asyncio.to_thread(piko_here, *words, cwd=tmp_path, dsn=world.database.dsn)
        drifted = [item for item in json.loads(answer.out)["troubles"] if item["kind"] == "drift"]
        return drifted[0] if drifted else None

    drift = await wait_until_async(found, what="drift in `piko status`", interval=1.0)
    assert drift["subject"] == f"PikoSchedule {world.namespace}/s"
    assert "priority is 5 instead of 0" in drift["text"]
    assert drift["since"]
    command, _, effect = drift["remedy"].partition(" puts ")
    assert effect == "the row back"
    world.kubectl(*shlex.split(command)[1:])
    await world.until_row("SELECT priority FROM scheduled_job", [(0,)])


async def test_deletion_disables_or_hands_back_as_the_policy_says(world: World) -> None:
    world.start()
    for policy in ("Disable", "Retain"):
        name = policy.lower()
        world.apply("PikoSchedule", name, jobId=name, schedule={"cron": "@hourly"}, deletionPolicy=policy)
        await world.until_condition("psch", name, "Synced", reason="Synced")
        world.kubectl("delete", "psch", name, PATIENTLY)
    rows = await world.database.execute(
        "SELECT job_id, enabled, managed_by FROM scheduled_job ORDER BY job_id"
    )
    assert [tuple(row) for row in rows] == [("disable", 0, None), ("retain", 1, None)]


async def test_a_secret_is_merged_into_its_own_column_and_shown_nowhere(world: World) -> None:
    running = world.start()
    reference = [{"secretKeyRef": {"name": "creds", "key": "json"}}]
    world.apply("PikoJobConfig", "c", jobId="job", config={"a": 1}, configFrom=reference)
    refused = await world.until_condition("pjc", "c", "Synced", reason="SecretUnavailable")
    assert "allow its ServiceAccount to get secrets in this namespace" in refused["message"]
    assert await world.database.execute("SELECT * FROM job_config") == []

    grant(world.control_plane, world.namespace, _SECRETS, name="piko-operator-secrets")
    world.kubectl("create", "secret", "generic", "creds", '--from-literal=json={"password":"hunter2"}')
    await world.until_condition("pjc", "c", "Synced", reason="Synced")
    await world.until_row(
        "SELECT config_json, secret_json FROM job_config", [('{"a":1}', '{"password":"hunter2"}')]
    )
    world.kubectl("delete", "secret", "creds")
    world.kubectl("create", "secret", "generic", "creds", "--from-literal=json=hunter3")
    await wait_until_async(
        lambda: "key 'json': is not JSON" in world.condition("pjc", "c", "Synced").get("message", ""),
        what="the condition to name the key",
    )
    said = world.kubectl("get", "pjc,events", "-o", "json") + running.output
    assert "hunter" not in said


async def test_an_operator_without_resources_is_ready_only_with_a_database(
    own_mariadb: DatabaseServer, make_world: Callable[[TestDatabase], World]
) -> None:
    world = make_world(await create_tables(await own_mariadb.create_database()))
    own_mariadb.stop()
    world.start()
    await wait_until_async(lambda: "is not available" in _get(world, "/readyz")[1], what="/readyz to say why")
    own_mariadb.start()
    await wait_until_async(lambda: _get(world, "/readyz")[0] == 200, what="readiness")


async def test_an_operator_is_ready_again_although_what_waited_for_the_database_was_deleted(
    own_mariadb: DatabaseServer, make_world: Callable[[TestDatabase], World]
) -> None:
    world = make_world(await create_tables(await own_mariadb.create_database()))
    world.start()
    world.apply("PikoSchedule", "s", jobId="job", schedule={"cron": "@daily"})
    await world.until_condition("psch", "s", "Synced", reason="Synced")
    await wait_until_async(
        lambda: world.read("psch", "s")["metadata"].get("finalizers"), what="the finalizer"
    )
    own_mariadb.stop()
    world.apply("PikoSchedule", "s", jobId="job", schedule={"cron": "@hourly"})
    await world.until_condition("psch", "s", "Synced", reason="DatabaseUnavailable")
    world.kubectl("delete", "psch", "s", "--wait=false")
    world.kubectl("patch", "psch", "s", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    own_mariadb.start()
    await wait_until_async(lambda: _get(world, "/readyz")[0] == 200, what="readiness")


async def test_a_database_that_is_away_is_said_and_caught_up_with(
    own_mariadb: DatabaseServer, make_world: Callable[[TestDatabase], World]
) -> None:
    world = make_world(await create_tables(await own_mariadb.create_database()))
    own_mariadb.stop()
    running = world.start()
    world.apply("PikoSchedule", "s", jobId="job", schedule={"cron": "@hourly"})
    away = await world.until_condition("psch", "s", "Synced", reason="DatabaseUnavailable")
    assert away["status"] == "Unknown"
    assert "piko:piko@" not in away["message"], "no password in a condition"
    ready = await world.until_condition("psch", "s", "Ready", reason="DatabaseUnavailable")
    assert ready["status"] == "Unknown"
    code, _ = await wait_until_async(
        lambda: answer if "is not available" in (answer := _get(world, "/readyz"))[1] else None,
        what="/readyz to say why",
    )
    assert code == 503
    assert _get(world, "/healthz")[0] == 200

    own_mariadb.start()
    await world.until_condition("psch", "s", "Synced", reason="Synced")
    wait_until(lambda: _get(world, "/readyz")[0] == 200, what="readiness")

    own_mariadb.kill()
    world.kubectl("delete", "psch", "s", "--wait=false")
    await world.until_condition("psch", "s", "Synced", reason="DatabaseUnavailable")
    own_mariadb.start()
    wait_until(
        lambda: not json.loads(world.kubectl("get", "psch", "-o", "json"))["items"],
        what="the deletion to end",
    )
    assert await world.database.execute("SELECT * FROM scheduled_job") == []
    assert "Traceback" not in running.output


async def test_tables_that_are_not_there_yet_are_waited_for(
    mariadb: TestDatabase, make_world: Callable[[TestDatabase], World]
) -> None:
    world = make_world(mariadb)
    running = world.start()
    world.apply("PikoSchedule", "s", jobId="job", schedule={"cron": "@hourly"})
    away = await world.until_condition("psch", "s", "Synced", reason="DatabaseUnavailable")
    assert "run `piko db upgrade`" in away["message"]
    await create_tables(mariadb)
    await world.until_condition("psch", "s", "Synced", reason="Synced")
    assert "Traceback" not in running.output


async def test_tables_of_which_some_are_not_there_yet_are_waited_for(
    mariadb: TestDatabase, make_world: Callable[[TestDatabase], World]
) -> None:
    await create_tables(mariadb)
    await mariadb.execute("RENAME TABLE audited_row TO not_yet_audited_row")  # as amid `piko db upgrade`
    world = make_world(mariadb)
    running = world.start()
    world.apply("PikoSchedule", "s", jobId="job", schedule={"cron": "@hourly"})
    away = await world.until_condition("psch", "s", "Synced", reason="DatabaseUnavailable")
    assert away["status"] == "Unknown"
    assert "run `piko db upgrade`" in away["message"]
    await mariadb.execute("RENAME TABLE not_yet_audited_row TO audited_row")
    await world.until_condition("psch", "s", "Synced", reason="Synced")
    assert "Traceback" not in running.output


async def test_it_shows_its_metrics_and_stops_on_sigterm(world: World) -> None:
    running = world.start()
    world.apply("PikoSchedule", "s", jobId="job", schedule={"cron": "@hourly"})
    await world.until_condition("psch", "s", "Synced", reason="Synced")
    code, text = await wait_until_async(
        lambda: (
            found
            if 'piko_operator_resources{condition="Synced",kind="PikoSchedule"} 1.0'
            in (found := _get(world, "/metrics"))[1]
            else None
        ),
        what="the gauge",
    )
    assert code == 200
    for name in (
        'piko_operator_mirror_rows_total{table="scheduled_job",verb="create"} 1.0',
        "piko_operator_mirror_latency_seconds_bucket",
        "piko_operator_drift_total",
        "piko_operator_watch_last_event_timestamp_seconds",
    ):
        assert name in text
    assert running.terminate() == 0
