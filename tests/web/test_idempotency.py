"""`Idempotency-Key`: an act that is sent again is carried out once, and has the answer of the first time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from piko.clock import SystemClock
from piko.identity import content_hash
from piko.store.engine import open_database
from piko.store.idempotency import IdempotencyKeys, KeyedRequest
from piko.web.application import create_web
from piko.web.options import WebSettings
from tests.harness.databases import TestDatabase
from tests.web.clients import client_of, serving
from tests.web.rows import add_definition, add_jobs

_TRIGGER = "/api/v1/jobs/a:trigger"
_REPLAYED = "Idempotency-Replayed"


def _key(key: str = "one") -> dict[str, str]:
    return {"Idempotency-Key": key}


@pytest.fixture
async def job(emptied_database: TestDatabase) -> TestDatabase:
    await add_jobs(emptied_database, "a")
    await add_definition(emptied_database, "a")
    return emptied_database


async def _runs(database: TestDatabase) -> int:
    return int((await database.execute("SELECT count(*) FROM job_run"))[0][0])


async def test_the_same_request_with_the_same_key_is_carried_out_once_and_answered_alike(
    acting: httpx.AsyncClient, job: TestDatabase
) -> None:
    first = await acting.post(_TRIGGER, json={"reason": "lost"}, headers=_key())
    again = await acting.post(_TRIGGER, json={"reason": "lost"}, headers=_key('"one"'))
    assert first.status_code == again.status_code == 200
    assert first.json() == again.json()
    assert (_REPLAYED in first.headers, again.headers[_REPLAYED]) == (False, "true")
    assert again.headers["content-security-policy"] == first.headers["content-security-policy"]
    assert await _runs(job) == 1
    assert (await acting.post(_TRIGGER, json={"reason": "lost"}, headers=_key("two"))).status_code == 200
    assert await _runs(job) == 2


async def test_another_request_with_the_same_key_is_refused(
    acting: httpx.AsyncClient, job: TestDatabase
) -> None:
    await acting.post(_TRIGGER, json={}, headers=_key())
    for path, body in ((_TRIGGER, {"reason": "other"}), ("/api/v1/jobs/a:pause", {})):
        other = await acting.post(path, json=body, headers=_key())
        assert other.status_code == 422
        assert "came with another request" in other.json()["detail"]
    assert await _runs(job) == 1


async def test_of_many_that_are_sent_at_the_same_time_one_is_carried_out(
    acting: httpx.AsyncClient, job: TestDatabase
) -> None:
    answers = await asyncio.gather(*(acting.post(_TRIGGER, json={}, headers=_key()) for _ in range(6)))
    assert {answer.status_code for answer in answers} <= {200, 409}
    done = [answer.json()["run"]["run_id"] for answer in answers if answer.status_code == 200]
    assert len(set(done)) == 1
    assert await _runs(job) == 1
    assert (await acting.post(_TRIGGER, json={}, headers=_key())).json()["run"]["run_id"] == done[0]


async def test_a_refusal_is_replayed_and_a_failure_is_not(
    acting: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    first = await acting.post(_TRIGGER, json={}, headers=_key())
    await add_jobs(emptied_database, "a")
    await add_definition(emptied_database, "a")
    again = await acting.post(_TRIGGER, json={}, headers=_key())
    assert (first.status_code, again.status_code) == (404, 404)
    assert again.headers["content-type"] == "application/problem+json"


async def test_a_request_that_ends_in_a_defect_leaves_its_key_free(job: TestDatabase) -> None:
    asked: list[str] = []

    async def breaks_once(request: Request) -> Response:
        asked.append(request.method)
        if len(asked) == 1:
            raise LookupError("a defect")
        return PlainTextResponse("done")

    settings = WebSettings(
        dsn=SecretStr(job.dsn),
        timezone="UTC",
        access="header",
        operators=("ann",),
        trusted_proxies=("127.0.0.1/32",),
    )
    app = create_web(settings=settings, clock=SystemClock())
    app.router.routes.append(Route("/breaks", endpoint=breaks_once, methods=["POST"]))
    headers = {**_key(), "X-Forwarded-User": "ann"}
    async with client_of(app) as client:
        answers = [await client.post("/breaks", json={}, headers=headers) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [500, 200, 200]
    assert len(asked) == 2
    assert answers[2].headers[_REPLAYED] == "true"


async def test_keys_are_a_callers_own(job: TestDatabase) -> None:
    async with serving(
        job, access="header", operators=("ann", "bob"), trusted_proxies=("127.0.0.1/32",)
    ) as client:
        for who in ("ann", "bob"):
            answer = await client.post(_TRIGGER, json={}, headers={**_key(), "X-Forwarded-User": who})
            assert answer.status_code == 200
    assert await _runs(job) == 2


async def test_a_key_whose_process_was_killed_is_locked_for_a_minute_and_a_kept_one_for_a_day(
    acting: httpx.AsyncClient, job: TestDatabase
) -> None:
    assert (await acting.post(_TRIGGER, json={}, headers=_key())).status_code == 200
    await job.execute("UPDATE idempotency_key SET status = NULL, answer = NULL")
    pending = await acting.post(_TRIGGER, json={}, headers=_key())
    assert (pending.status_code, pending.headers["Retry-After"]) == (409, "1")
    for age in (timedelta(minutes=2), timedelta(days=2)):
        then = f"{datetime.now(UTC) - age:%Y-%m-%d %H:%M:%S}"
        await job.execute(f"UPDATE idempotency_key SET begun_at = '{then}'")
        before = await _runs(job)
        assert (await acting.post(_TRIGGER, json={}, headers=_key())).status_code == 200
        assert await _runs(job) == before + 1


async def test_of_two_that_take_over_a_key_one_gets_it(job: TestDatabase) -> None:
    database, now = open_database(job.dsn), datetime.now(UTC)
    keys = IdempotencyKeys(database=database)
    try:
        tries = [
            KeyedRequest(key_hash=content_hash("ann", "k"), fingerprint="same", token=str(number))
            for number in range(5)
        ]
        assert await keys.claim(tries[0], now=now - timedelta(minutes=5)) == "ours"
        claims = await asyncio.gather(*(keys.claim(item, now=now) for item in tries[1:]))
    finally:
        await database.close()
    assert sorted(map(str, claims)) == ["ours", "pending", "pending", "pending"]


@pytest.mark.parametrize("key", ["", "x" * 256, "two words", "ü"])
async def test_what_is_no_key_is_refused(acting: httpx.AsyncClient, job: TestDatabase, key: str) -> None:
    answer = await acting.post(_TRIGGER, json={}, headers={b"Idempotency-Key": key.encode()})
    assert answer.status_code == 400
    assert "header Idempotency-Key" in answer.json()["detail"]
    assert await _runs(job) == 0
