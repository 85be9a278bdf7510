"""What cannot be answered is refused in one form, RFC 9457, with what is right instead."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from piko.web.guard import MOST_BYTES
from tests.harness.databases import TestDatabase
from tests.web.clients import serving
from tests.web.rows import add_jobs, add_runs

_AS_JSON = {"Content-Type": "application/json"}
_TOKEN = {"Authorization": "Bearer acts"}


@pytest.fixture
async def operator(emptied_database: TestDatabase, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client with an operator's token, over two jobs, one of them with runs."""
    await add_jobs(emptied_database, "late", "a:b")
    await add_runs(emptied_database, "late", ["SUCCESS", "FAILED"])
    _write_token(tmp_path, "acts")
    async with serving(emptied_database, access="token", tokens_dir=tmp_path) as client:
        client.headers.update(_TOKEN)
        yield client


def _write_token(folder: Path, token: str) -> None:
    (folder / "operator").write_text(f"ann {hashlib.sha256(token.encode()).hexdigest()}\n")


def _cursor(**held: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(held).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("method", "path", "given", "status", "right"),
    [
        ("GET", "/jobs?stat=Invalid", {}, 422, "did you mean `state`?"),
        ("GET", "/jobs?state=Broken", {}, 422, "'Scheduled', 'Disabled'"),
        ("GET", f"/runs?cursor={_cursor(v=0, k=['a'], f='x')}", {}, 400, "this release has 1"),
        ("GET", "/runs?job=é", {}, 422, "filter job = 'é'"),
        ("GET", "/dead-letters?run=é", {}, 422, "filter run = 'é'"),
        ("GET", "/runs?cursor=%00", {}, 400, "leave `cursor` out to start from the first page"),
        ("GET", "/jobs/a/b", {}, 404, "The id of a job has no `/`: it is 1 to 128 of A-Z a-z 0-9 _ . : -"),
        ("GET", "/jobs/a%2Fb", {}, 404, "The id of a job has no `/`"),
        ("GET", "/jobs/lat", {}, 404, "did you mean `late`?"),
        ("GET", "/runs/run-none", {}, 404, "no run 'run-none' in job_run"),
        ("GET", "/nothing", {}, 404, "/api/v1/openapi.json lists what there is"),
        ("PUT", "/jobs/late", {}, 405, "expected GET"),
        ("POST", "/jobs/late:pause", {"headers": {"If-Match": "yesterday"}}, 400, "expected the ETag"),
        (
            "POST",
            "/jobs/late:pause",
            {"headers": {"If-Match": '"7-1"'}},
            412,
            "read it again and decide again",
        ),
        ("POST", "/jobs/late:pause", {"content": b" " * (MOST_BYTES + 1)}, 413, "65,536 bytes"),
        ("POST", "/jobs/late:pause", {"content": b"{}"}, 415, "expected 'application/json'"),
        ("POST", "/jobs/late:pause", {"content": b"{", "headers": _AS_JSON}, 422, "JSON decode error"),
        ("POST", "/jobs/late:pause", {"json": {"resaon": "no"}}, 422, "did you mean `reason`?"),
        ("POST", "/jobs/late:pause", {"data": {"reason": "no"}}, 415, "a program sends 'application/json'"),
        ("POST", "/jobs/late:pause", {"headers": {"Origin": "http://evil.test"}}, 403, "another site"),
        ("GET", "/jobs", {"headers": {"Authorization": "Bearer guess"}}, 401, "not admitted"),
    ],
)
async def test_each_mistake_is_answered_with_what_is_right(
    operator: httpx.AsyncClient, method: str, path: str, given: dict[str, Any], status: int, right: str
) -> None:
    has_body = method == "GET" or "content" in given or "data" in given
    body: dict[str, Any] = {} if has_body else {"json": {}}
    answer = await operator.request(method, f"/api/v1{path}", **{**body, **given})
    _is_a_problem(answer, status)
    assert right in answer.json()["detail"]


async def test_a_job_whose_id_has_a_colon_can_be_read_and_steered(operator: httpx.AsyncClient) -> None:
    read = await operator.get("/api/v1/jobs/a:b")
    assert read.json()["job_id"] == "a:b"
    paused = await operator.post(
        "/api/v1/jobs/a:b:pause", json={"reason": "x"}, headers={"If-Match": read.headers["etag"]}
    )
    assert paused.status_code == 200, paused.text
    assert (await operator.get("/api/v1/jobs/a:b")).json()["enabled"] is False


async def test_a_token_that_was_revoked_meanwhile_says_so(
    operator: httpx.AsyncClient, tmp_path: Path
) -> None:
    assert (await operator.get("/api/v1/jobs")).status_code == 200
    _write_token(tmp_path, "another")
    for answer in (
        await operator.get("/api/v1/jobs"),
        await operator.post("/api/v1/jobs/late:pause", json={}),
    ):
        _is_a_problem(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "acts" not in answer.text


async def test_an_answer_to_a_mistake_repeats_little_of_it(operator: httpx.AsyncClient) -> None:
    answer = await operator.get(f"/api/v1/jobs?text={'x' * 10_000}")
    _is_a_problem(answer, 422)
    assert len(answer.text) < 2000


def _is_a_problem(answer: httpx.Response, status: int) -> None:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem = answer.json()
    assert (answer.status_code, problem["status"]) == (status, status), problem
    assert problem["title"]
    assert problem["type"] == "about:blank"
    assert problem["detail"]
