"""What people do through the API: done once, refused with what is right, and logged with who did it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.harness.databases import TestDatabase
from tests.web.rows import add_definition, add_jobs, add_runs

_OWNER = "prod/data/owned/uid"


async def _log(web: httpx.AsyncClient) -> list[tuple[Any, ...]]:
    """What acts have logged; the rows of the tests are made by SQL."""
    items = (await web.get("/api/v1/changes")).json()["items"]
    return [
        (item["what"], item["who"], item["via"], item["job_id"], item["reason"])
        for item in items
        if item["via"] != "sql"
    ]


async def test_a_pause_is_written_and_logged_with_who_and_why(
    acting: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    await add_jobs(emptied_database, "a")
    path, act = "/api/v1/jobs/a:pause", {"reason": "the source is down"}
    assert (await acting.post(path, json={**act, "dry_run": True})).json()["changed"] is True
    assert (await acting.get("/api/v1/jobs/a")).json()["enabled"] is True
    assert (await acting.post(path, json=act)).json() == {
        "job_id": "a",
        "enabled": False,
        "paused_until": None,
        "changed": True,
        "dry_run": False,
        "shell": "piko pause a --reason 'the source is down'",
    }
    assert (await acting.post(path, json=act)).json()["changed"] is False
    assert (await acting.get("/api/v1/jobs/a")).json()["enabled"] is False
    assert await _log(acting) == [("pause", "ann", "api", "a", "the source is down")]
    change = (await acting.get("/api/v1/changes?job=a")).json()["items"][0]
    assert (change["before"], change["after"]) == (
        '{"enabled": true, "paused_until": null}',
        '{"enabled": false, "paused_until": null}',
    )


async def test_a_pause_until_an_instant_is_shown_and_one_that_has_passed_is_refused(
    acting: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    await add_jobs(emptied_database, "a")
    path = "/api/v1/jobs/a:pause"
    late = await acting.post(path, json={"until": "2020-01-01T00:00:00Z"})
    assert (late.status_code, "lies ahead" in late.json()["detail"]) == (409, True)
    done = (await acting.post(path, json={"until": "2999-01-01T00:00:00Z"})).json()
    assert done["shell"] == "piko pause a --until 2999-01-01T00:00:00Z"
    assert (await acting.get("/api/v1/jobs/a")).json()["paused_until"] == "2999-01-01T00:00:00Z"
    assert (await acting.post("/api/v1/jobs/a:resume", json={})).json()["changed"] is True
    assert (await acting.get("/api/v1/jobs/a")).json()["paused_until"] is None


async def test_an_edit_of_a_row_that_was_edited_meanwhile_is_refused(
    acting: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    await add_jobs(emptied_database, "a")
    tag = {"If-Match": (await acting.get("/api/v1/jobs/a")).headers["etag"]}
    assert (await acting.post("/api/v1/jobs/a:pause", json={}, headers=tag)).status_code == 200
    stale = await acting.post("/api/v1/jobs/a:resume", json={}, headers=tag)
    assert stale.status_code == 412
    assert "read it again" in stale.json()["detail"]
    wrong = await acting.post("/api/v1/jobs/a:resume", json={}, headers={"If-Match": "abc"})
    assert (wrong.status_code, "expected the ETag" in wrong.json()["detail"]) == (400, True)


async def test_an_act_on_many_jobs_says_of_each_what_it_did(
    acting: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    await add_jobs(emptied_database, *(f"job-{number:03}" for number in range(200)), "other")
    await add_jobs(emptied_database, "job-owned", owner=_OWNER)
    path = "/api/v1/jobs:pause?text=job-"
    for dry_run in (True, False):
        answer = (await acting.post(path, json={"dry_run": dry_run})).json()
        assert (answer["dry_run"], answer["changed"], answer["refused"]) == (dry_run, 200, 1)
        paused = await acting.get("/api/v1/jobs?enabled=false&total=true&limit=1")
        assert paused.json()["total"] == (0 if dry_run else 200)
    refused = [item for item in answer["results"] if item["result"] == "refused"]
    assert [item["job_id"] for item in refused] == ["job-owned"]
    assert "kubectl patch pikoschedule owned -n data" in refused[0]["detail"]


async def test_runs_are_cancelled_and_retried_by_a_filter_each_with_its_outcome(
    acting: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    await add_jobs(emptied_database, "a")
    await add_definition(emptied_database, "a")
    await add_runs(emptied_database, "a", ["FAILED"] * 3 + ["QUEUED", "SUCCESS"])
    retried = (await acting.post("/api/v1/runs:retry?job=a&state=FAILED", json={})).json()
    assert retried["changed"] == 3
    assert retried["shell"] == (
        "piko runs --job a --state FAILED --limit 1000 --output json | jq -r '.[] | .run_id' "
        "| xargs -n 1 piko runs retry"
    )
    shown = (await acting.post("/api/v1/runs:cancel?job=a", json={"dry_run": True})).json()
    assert (shown["changed"], shown["refused"]) == (4, 4)
    ended = (await acting.post("/api/v1/runs:cancel?job=a&state=QUEUED", json={})).json()
    assert {item["result"] for item in ended["results"]} == {"changed"}
    assert len((await acting.get("/api/v1/runs?job=a&state=CANCELLED")).json()["items"]) == 4


async def test_a_run_has_the_overrides_that_fit_its_config_and_keeps_them_when_it_runs_again(
    acting: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    await add_jobs(emptied_database, "a")
    await add_definition(emptied_database, "a")
    schema = {
        "type": "object",
        "required": ["batch"],
        "properties": {"batch": {"type": "integer"}, "token": {"type": "string", "writeOnly": True}},
    }
    await emptied_database.execute(
        f"UPDATE job_definition SET config_schema = '{json.dumps(schema)}' WHERE job_id = 'a'"
    )
    path = "/api/v1/jobs/a:trigger"
    for overrides, why in [
        ({"bacth": 1}, "did you mean `batch`"),
        ({"batch": "many"}, "'many' is not of type 'integer'"),
        ({"batch": 1, "token": "x"}, "declares secret cannot be overridden"),
    ]:
        refused = await acting.post(path, json={"config": overrides})
        assert (refused.status_code, why in refused.json()["detail"]) == (409, True), refused.text
    done = (await acting.post(path, json={"config": {"batch": 5}})).json()
    assert done["shell"] == """piko trigger a --config '{"batch": 5}'"""
    run_id = done["run"]["run_id"]
    assert (await acting.get(f"/api/v1/runs/{run_id}")).json()["config_overrides"] == '{"batch": 5}'
    change = (await acting.get("/api/v1/changes?job=a")).json()["items"][0]
    assert json.loads(change["after"])["config_overrides"] == '{"batch": 5}'
    await acting.post(f"/api/v1/runs/{run_id}:cancel", json={})
    again = (await acting.post(f"/api/v1/runs/{run_id}:retry", json={})).json()["run"]
    assert again["config_overrides"] == '{"batch": 5}'


async def test_a_request_within_a_trace_asks_for_runs_that_belong_to_it(
    acting: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    await add_jobs(emptied_database, "a")
    await add_definition(emptied_database, "a")
    asked = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    later = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    async def post(path: str, **headers: str) -> Any:
        return (await acting.post(f"/api/v1/{path}", json={}, headers=headers)).json()["run"]

    run = await post("jobs/a:trigger", traceparent=asked)
    assert run["traceparent"] == asked
    assert (await post("jobs/a:trigger", traceparent="no traceparent"))["traceparent"] is None
    await post(f"runs/{run['run_id']}:cancel", traceparent=later)
    assert (await post(f"runs/{run['run_id']}:retry"))["traceparent"] == asked
    assert (await post(f"runs/{run['run_id']}:retry", traceparent=later))["traceparent"] == later


async def test_a_triggered_run_waits_and_can_be_cancelled_and_run_again(
    acting: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    await add_jobs(emptied_database, "a")
    refused = await acting.post("/api/v1/jobs/a:trigger", json={})
    assert (refused.status_code, "no replica has registered it" in refused.json()["detail"]) == (409, True)
    await add_definition(emptied_database, "a")
    run_id = (await acting.post("/api/v1/jobs/a:trigger", json={})).json()["run"]["run_id"]
    assert (await acting.get(f"/api/v1/runs/{run_id}")).json()["state"] == "QUEUED"
    early = await acting.post(f"/api/v1/runs/{run_id}:retry", json={})
    assert (early.status_code, "is QUEUED" in early.json()["detail"]) == (409, True)
    assert (await acting.post(f"/api/v1/runs/{run_id}:cancel", json={"reason": "wrong day"})).is_success
    ended = (await acting.get(f"/api/v1/runs/{run_id}")).json()
    assert (ended["state"], ended["error"]) == ("CANCELLED", "cancelled by ann: wrong day")
    again = await acting.post(f"/api/v1/runs/{run_id}:cancel", json={})
    assert (again.status_code, "nothing to cancel" in again.json()["detail"]) == (409, True)
    retried = (await acting.post(f"/api/v1/runs/{run_id}:retry", json={})).json()["run"]
    assert (retried["attempt"], retried["scheduled_time"]) == (2, ended["scheduled_time"])
    assert [what for what, *_ in await _log(acting)] == ["retry", "cancel", "trigger"]


async def test_a_watermark_says_which_windows_run_before_it_moves(
    acting: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    await add_jobs(emptied_database, "a")
    await add_definition(emptied_database, "a", stateful=True)
    act = {"watermark": "2026-01-08T00:00:00Z", "reason": "late data"}
    path = "/api/v1/jobs/a:set-watermark"
    shown = (await acting.post(path, json={**act, "dry_run": True})).json()["change"]
    assert shown["windows"] > 0
    assert (shown["first_window_start"], shown["changed"]) == ("2026-01-08T00:00:00Z", False)
    assert (await acting.get("/api/v1/jobs/a")).json()["last_data_time"] is None
    assert (await acting.post(path, json=act)).json()["change"]["before"] is None
    assert (await acting.get("/api/v1/jobs/a")).json()["last_data_time"] == act["watermark"]
    future = await acting.post(path, json={"watermark": "2999-01-01T00:00:00Z"})
    assert (future.status_code, "cannot lie in the future" in future.json()["detail"]) == (409, True)


async def test_one_window_runs_if_it_is_one(
    acting: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    await add_jobs(emptied_database, "a")
    await add_definition(emptied_database, "a", stateful=True)
    path = "/api/v1/jobs/a:run-window"
    run = (await acting.post(path, json={"start": "2026-01-08T00:00:00Z"})).json()["run"]
    assert run["window"] == {"start": "2026-01-08T00:00:00Z", "end": "2026-01-08T01:00:00Z"}
    stored = (await acting.get(f"/api/v1/runs/{run['run_id']}")).json()
    assert (stored["window_end"], stored["trigger_type"]) == ("2026-01-08T01:00:00Z", "manual")
    within = await acting.post(path, json={"start": "2026-01-08T00:30:00Z"})
    assert "the one that holds it begins at 2026-01-08T00:00:00Z" in within.json()["detail"]


async def test_a_backfill_is_shown_started_paused_and_cancelled(
    acting: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    await add_jobs(emptied_database, "a")
    await add_definition(emptied_database, "a", stateful=True)
    act = {"job_id": "a", "start": "2026-01-08T00:00:00Z", "end": "2026-01-08T05:00:00Z"}
    shown = (await acting.post("/api/v1/backfills", json={**act, "dry_run": True})).json()
    assert (shown["backfill_id"], shown["windows_total"]) == (None, 5)
    assert (await acting.get("/api/v1/backfills")).json() == []
    backfill = (await acting.post("/api/v1/backfills", json=act)).json()["backfill_id"]
    path = f"/api/v1/backfills/{backfill}"
    for verb, state in (("pause", "PAUSED"), ("resume", "ACTIVE"), ("cancel", "CANCELLED")):
        assert (await acting.post(f"{path}:{verb}", json={"dry_run": True})).is_success
        assert (await acting.post(f"{path}:{verb}", json={})).json()["backfill"]["state"] == state
    assert (await acting.post(f"{path}:resume", json={})).status_code == 409
    assert [what for what, *_ in await _log(acting)] == ["change_backfill"] * 3 + ["backfill"]


async def test_a_cancelled_window_of_a_backfill_counts_as_failed(
    acting: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    await add_jobs(emptied_database, "a")
    await add_definition(emptied_database, "a", stateful=True)
    act = {"job_id": "a", "start": "2026-01-08T00:00:00Z", "end": "2026-01-08T01:00:00Z"}
    backfill = (await acting.post("/api/v1/backfills", json=act)).json()["backfill_id"]
    (run_id,) = await add_runs(emptied_database, "a", ["QUEUED"], window=True)
    await emptied_database.execute(f"UPDATE job_run SET backfill_id = '{backfill}'")
    assert (await acting.post(f"/api/v1/runs/{run_id}:cancel", json={})).is_success
    ended = (await acting.get(f"/api/v1/backfills/{backfill}")).json()
    assert (ended["state"], ended["windows_failed"]) == ("FAILED", 1)


async def test_a_config_rolls_back_to_a_revision_that_took_effect(
    acting: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    await add_jobs(emptied_database, "a")
    await emptied_database.execute(
        "INSERT INTO job_config_revision (job_id, revision, content_hash, schema_version, config_json, "
        "row_version, error) VALUES ('a', 1, 'x', 1, '{\"n\": 1}', 1, NULL), ('a', 2, 'y', 1, '{}', 2, 'bad')"
    )
    path = "/api/v1/jobs/a:rollback-config"
    assert "never took effect: bad" in (await acting.post(path, json={"revision": 2})).json()["detail"]
    assert "known revisions: 1, 2" in (await acting.post(path, json={"revision": 3})).json()["detail"]
    assert (await acting.post(path, json={"revision": 1})).json()["changed"] is True
    rows = await emptied_database.execute("SELECT config_json, updated_by FROM job_config")
    assert [tuple(row) for row in rows] == [('{"n": 1}', "ann (rollback to 1)")]


async def test_a_dry_run_of_a_rollback_changes_nothing_and_refuses_what_would_be_refused(
    acting: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    await add_jobs(emptied_database, "a")
    await emptied_database.execute(
        "INSERT INTO job_config_revision (job_id, revision, content_hash, schema_version, config_json, "
        "row_version) VALUES ('a', 1, 'x', 1, '{\"n\": 1}', 1)"
    )
    path, body = "/api/v1/jobs/a:rollback-config", {"revision": 1, "dry_run": True}
    assert (await acting.post(path, json=body)).json()["changed"] is False
    assert await emptied_database.execute("SELECT 1 FROM job_config") == []
    assert await emptied_database.execute("SELECT 1 FROM change_log") == []
    await emptied_database.execute(
        "INSERT INTO job_config (job_id, config_json, managed_by) VALUES ('a', '{}', 'c/data/a/u')"
    )
    answer = await acting.post(path, json=body)
    assert (answer.status_code, "kubectl patch" in answer.json()["detail"]) == (409, True)


async def test_the_patch_that_rolls_a_resource_back_names_no_secret(
    acting: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    await add_jobs(emptied_database, "a")
    await emptied_database.execute(
        "INSERT INTO job_config (job_id, config_json, managed_by) VALUES ('a', '{}', 'main/data/a/uid-1')"
    )
    await emptied_database.execute(
        "INSERT INTO job_config_revision (job_id, revision, content_hash, schema_version, config_json, "
        'row_version) VALUES (\'a\', 1, \'x\', 1, \'{"db": {"password": "hunter2", "port": 5}}\', 1)'
    )
    refused = await acting.post("/api/v1/jobs/a:rollback-config", json={"revision": 1})
    assert refused.status_code == 409
    assert '{"spec": {"config": {"db": {"port": 5}}}}' in refused.json()["detail"], refused.text
    assert "hunter2" not in refused.text


@pytest.mark.parametrize("body", [{"resaon": "x"}, [], "x", {"dry_run": "maybe"}])
async def test_a_body_that_is_not_understood_is_refused(acting: httpx.AsyncClient, body: Any) -> None:
    answer = await acting.post("/api/v1/jobs/a:pause", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
