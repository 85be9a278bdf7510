"""Nothing that a client sends makes an error of the server, and no page shows a secret."""

from __future__ import annotations

import json
from functools import cache
from typing import Any
from urllib.parse import quote

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from piko.clock import SystemClock
from piko.web.application import create_web
from piko.web.options import WebSettings
from tests.harness.databases import TestDatabase
from tests.web.addresses import Known, addresses
from tests.web.clients import serving
from tests.web.rows import add_definition, add_jobs, add_letters, add_runs, add_states

_OPERATOR: dict[str, Any] = {
    "access": "header",
    "operators": ("ann",),
    "trusted_proxies": ("127.0.0.1/32",),
}
_WITHOUT_END = "/api/v1/events"
_PAGES = ("/", "/jobs", "/jobs/{job_id}", "/runs", "/runs/{run_id}", "/backfills", "/replicas", "/sinks")
_MORE_PAGES = ("/dead-letters", "/dead-letters/{letter_id}/replay", "/jobs/{job_id}/why")

_KNOWN = Known(
    job="a",
    stateful="a",
    run="run-001",
    backfill="none",
    letter="none",
    replica="one",
    sink="none",
    since="2026-01-08T00:00:00Z",
    until="2026-01-09T00:00:00Z",
)

_ODD = st.sampled_from(
    [
        *("", "0", "-1", "9" * 40, "true", "null", "%", "_", "'", "\\", "a", "run-000", "Invalid", "FAILED"),
        *("next", "1e999", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.9Z", "9999-12-31T23:59:59-12:00"),
    ]
)
_TEXT = st.one_of(_ODD, st.text(max_size=40))
_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), _TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_TEXT, inner, max_size=3)),
    max_leaves=8,
)


@cache
def _operations() -> list[tuple[str, str, list[str], list[str]]]:
    """Of each operation: method, path, names of its filters, names of its body's fields."""
    app = create_web(
        settings=WebSettings(dsn=SecretStr("sqlite+aiosqlite://"), timezone="UTC"), clock=SystemClock()
    )
    described = app.openapi()
    found: list[tuple[str, str, list[str], list[str]]] = [
        ("get", path, ["text", "cursor", "at", "sink"], []) for path in (*_PAGES, *_MORE_PAGES)
    ]
    for path, ways in described["paths"].items():
        for method, operation in ways.items():
            if path != _WITHOUT_END:
                filters = [item["name"] for item in operation.get("parameters", ()) if item["in"] == "query"]
                found.append((method, path, filters, _fields(described, operation)))
    return found


def _fields(described: dict[str, Any], operation: dict[str, Any]) -> list[str]:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    schema = described["components"]["schemas"].get(body.get("$ref", "").rpartition("/")[2], {})
    return sorted(schema.get("properties", {}))


@st.composite
def _requests(draw: st.DrawFn) -> tuple[str, str, dict[str, str], str | None]:
    """Method, path, filters and body of a request that a client might send."""
    method, path, filters, fields = draw(st.sampled_from(_operations()))
    for name in ("job_id", "run_id", "backfill_id", "letter_id"):
        path = path.replace(f"{{{name}}}", quote(draw(_TEXT), safe="") or "a")
    query = {name: draw(_TEXT) for name in filters if draw(st.booleans())}
    if method == "get":
        return method, path, query, None
    body = {name: draw(_JSON) for name in fields if draw(st.booleans())}
    return method, path, query, json.dumps(draw(st.sampled_from([body, draw(_JSON)])))


async def test_no_request_makes_an_error_of_the_server(emptied_database: TestDatabase) -> None:
    await _fill(emptied_database)
    asked: list[tuple[str, str, dict[str, str], str | None]] = []

    @settings(
        max_examples=120,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(_requests())
    def collect(request: tuple[str, str, dict[str, str], str | None]) -> None:
        asked.append(request)

    collect()
    wrong = []
    async with serving(emptied_database, **_OPERATOR) as web:
        for method, path, query, body in asked:
            headers = {"X-Forwarded-User": "ann", "Content-Type": "application/json"}
            answer = await web.request(
                method.upper(),
                path,
                params=query,
                content=None if body is None else body.encode(),
                headers=headers,
            )
            if answer.status_code >= 500:
                wrong.append((method, path, query, body, answer.text))
    assert len(asked) > 100
    assert wrong == []


async def test_no_secret_is_in_any_answer(emptied_database: TestDatabase) -> None:
    await _fill(emptied_database)
    places = [*addresses(_KNOWN), "/sign-in", "/api/v1/openapi.json"]
    assert "/api/v1/jobs/a/config" in places
    async with serving(emptied_database, **_OPERATOR) as web:
        for place in places:
            for accepted in ("text/html", "application/json"):
                headers = {"X-Forwarded-User": "ann", "Accept": accepted}
                text = (await web.get(place, headers=headers)).text
                assert "hunter2" not in text, place
                assert emptied_database.dsn not in text, place
        shown = (await web.get("/api/v1/jobs/a/config", headers={"X-Forwarded-User": "ann"})).json()
    assert shown[0]["config"] == {"key": "••••••", "limit": 5}


async def _fill(database: TestDatabase) -> None:
    """A job with a config that has both kinds of secrets, and runs."""
    await add_jobs(database, "a", "b:c")
    await add_states(database, {"a": ("Scheduled", None, 1)})
    await add_runs(database, "a", ["SUCCESS", "FAILED", "RUNNING"])
    await add_definition(database, "a", stateful=True)
    await add_letters(database, 3, job_id="a")
    schema = json.dumps({"properties": {"key": {"type": "string", "format": "password", "writeOnly": True}}})
    await database.execute(f"UPDATE job_definition SET config_schema = '{schema}'")
    plain, secret = '{"key": "hunter2-a", "limit": 5}', '{"password": "hunter2-b"}'
    await database.execute(
        "INSERT INTO job_config (job_id, schema_version, config_json, secret_json, version) "
        f"VALUES ('a', 1, '{plain}', '{secret}', 1)"
    )
    await database.execute(
        "INSERT INTO job_config_revision "
        "(job_id, revision, content_hash, schema_version, config_json, secret_json, row_version) "
        f"VALUES ('a', 1, 'hash', 1, '{plain}', '{secret}', 1)"
    )
