"""One job explained, replicas, the leader, and the description of the API that is committed."""

from __future__ import annotations

import json

import httpx

from tests.docs.pages import ROOT
from tests.harness.databases import TestDatabase
from tests.web.rows import add_definition, add_jobs


async def test_the_committed_description_is_that_of_the_code(web: httpx.AsyncClient) -> None:
    committed = json.loads((ROOT / "docs" / "openapi.json").read_text("utf-8"))
    described = (await web.get("/api/v1/openapi.json")).json()
    assert described["openapi"] == "3.1.0"
    assert committed == described, "docs/openapi.json is out of date: run `make generate`"


async def test_a_schedule_is_explained_with_its_next_due_times(
    web: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    await add_jobs(emptied_database, "a")
    explained = (await web.get("/api/v1/jobs/a/next?count=3")).json()
    assert (explained["timezone"], len(explained["instants"])) == ("UTC", 3)
    assert explained["instants"][0]["instant"].endswith(":00:00Z")
    await emptied_database.execute("UPDATE scheduled_job SET schedule_expr = '\"* *\"'")
    wrong = await web.get("/api/v1/jobs/a/next")
    assert (wrong.status_code, wrong.headers["content-type"]) == (422, "application/problem+json")
    assert (await web.get("/api/v1/jobs/b/next")).status_code == 404


async def test_a_config_is_shown_without_its_secret(
    web: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    await emptied_database.execute(
        "INSERT INTO job_config_revision (job_id, revision, content_hash, schema_version, config_json, "
        "secret_json, row_version) VALUES ('a', 1, 'x', 1, '{\"n\": 1}', '{\"password\": \"hunter2\"}', 1)"
    )
    answer = await web.get("/api/v1/jobs/a/config")
    assert "hunter2" not in answer.text
    assert [(item["config"], item["has_secret"]) for item in answer.json()] == [({"n": 1}, True)]


async def test_revisions_of_a_config_are_listed_in_parts(
    web: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    rows = ", ".join(f"('a', {number}, 'x', 1, '{{\"n\": {number}}}', 1)" for number in range(1, 121))
    await emptied_database.execute(
        "INSERT INTO job_config_revision (job_id, revision, content_hash, schema_version, config_json, "
        f"row_version) VALUES {rows}"
    )
    found: list[int] = []
    while len(found) < 120:
        before = {"before": found[-1]} if found else {}
        answer = await web.get("/api/v1/jobs/a/config", params={"limit": 50, **before})
        found += [item["revision"] for item in answer.json()]
    assert found == list(range(120, 0, -1))
    await add_jobs(emptied_database, "a")
    assert (await web.get("/api/v1/jobs/a/config?before=1")).json() == []
    assert (await web.get("/api/v1/jobs/a/config?limit=101")).status_code == 422


async def test_replicas_the_leader_and_definitions_are_listed(
    web: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    await emptied_database.execute(
        "INSERT INTO runtime_instance (instance_id, app, host, pid, version, started_at, heartbeat_at) "
        "VALUES ('one', 'demo', 'pod', 7, '1.0', '2026-01-08 00:00:00', '2026-01-08 00:00:00')"
    )
    await emptied_database.execute(
        "INSERT INTO leader_lease (name, epoch, holder, expires_at) VALUES "
        "('ended', 3, 'one', '2026-01-08 00:00:00'), ('led', 4, 'one', '2999-01-08 00:00:00')"
    )
    await add_definition(emptied_database, "a", stateful=True)
    assert [item["host"] for item in (await web.get("/api/v1/replicas")).json()] == ["pod"]
    leaders = (await web.get("/api/v1/leader")).json()
    assert [(item["name"], item["epoch"], item["leads"]) for item in leaders] == [
        ("ended", 3, False),
        ("led", 4, True),
    ]
    definitions = (await web.get("/api/v1/definitions")).json()["items"]
    assert [(item["job_id"], item["stateful"]) for item in definitions] == [("a", True)]
