"""Signing in at a form: a cookie is the session, and it ends with its token, with time and at the button."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from piko.clock import SystemClock
from piko.store.schema.migrate import upgrade
from piko.web.access.sessions import LIFETIME_S
from tests.harness.databases import TestDatabase
from tests.web.clients import StandingClock, serving
from tests.web.rows import add_jobs

_PAGE = {"Accept": "text/html"}
_FROM_HERE = {**_PAGE, "Origin": "http://piko.test", "Sec-Fetch-Site": "same-origin"}
_PAUSE = "/api/v1/jobs/a:pause"


class _LaterClock(SystemClock):
    """Ahead of the machine's."""

    ahead_s = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead_s)


@asynccontextmanager
async def _site(database: TestDatabase, folder: Path, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(database, access="token", tokens_dir=folder, **settings) as client:
        yield client


@pytest.fixture
async def database(sqlite: TestDatabase) -> TestDatabase:
    await upgrade(sqlite.dsn)
    await add_jobs(sqlite, "a")
    return sqlite


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    """Tokens of ann, who reads, and of bob, who acts."""
    folder = tmp_path / "tokens"
    folder.mkdir()
    _write(folder, viewer="ann", operator="bob")
    return folder


def _write(folder: Path, **people: str) -> None:
    for role, name in people.items():
        token = f"{name}-token"
        (folder / role).write_text(f"{name} {hashlib.sha256(token.encode()).hexdigest()}\n")


async def _sign_in(client: httpx.AsyncClient, token: str, *, to: str = "") -> httpx.Response:
    return await client.post("/sign-in", data={"token": token, "to": to}, headers=_FROM_HERE)


async def test_who_has_no_session_gets_the_form_and_is_led_on_to_the_page(
    database: TestDatabase, tokens: Path
) -> None:
    async with _site(database, tokens) as client:
        asked = await client.get("/jobs?text=a", headers=_PAGE)
        assert asked.status_code == 401
        assert 'name="token"' in asked.text
        assert 'value="jobs?text=a"' in asked.text
        assert (await client.get("/api/v1/jobs")).headers["content-type"] == "application/problem+json"
        signed_in = await _sign_in(client, "bob-token", to="jobs?text=a")
        assert (signed_in.status_code, signed_in.headers["location"]) == (303, "./jobs?text=a")
        cookie = signed_in.headers["set-cookie"].lower()
        assert all(part in cookie for part in ("httponly", "samesite=strict", "path=/", "max-age=43200"))
        assert "secure" not in cookie
        assert "bob-token" not in cookie
        page = (await client.get("/jobs", headers=_PAGE)).text
        assert "bob, operator" in page
        assert "Sign out" in page
        assert (await client.post(_PAUSE, json={}, headers=_FROM_HERE)).status_code == 200
        who = (await client.get("/api/v1/changes")).json()["items"][0]["who"]
        assert who == "bob"


async def test_a_cookie_over_https_is_for_https_alone(database: TestDatabase, tokens: Path) -> None:
    async with _site(database, tokens) as client:
        said = {**_FROM_HERE, "Origin": "https://piko.test"}
        answer = await client.post("/sign-in", data={"token": "ann-token"}, headers=said)
        assert "; secure" in answer.headers["set-cookie"].lower()


@pytest.mark.parametrize(
    ("token", "why"),
    [("guess", "The token is not known"), ("", "This is no token"), ("ä", "This is no token")],
)
async def test_a_token_that_is_not_known_is_refused_with_words(
    database: TestDatabase, tokens: Path, token: str, why: str
) -> None:
    async with _site(database, tokens) as client:
        answer = await _sign_in(client, token)
        assert answer.status_code == 401
        assert why in unescape(answer.text)
        assert "set-cookie" not in answer.headers


async def test_a_revoked_token_ends_its_session_at_the_next_request(
    database: TestDatabase, tokens: Path
) -> None:
    async with _site(database, tokens) as client:
        await _sign_in(client, "ann-token")
        assert (await client.get("/", headers=_PAGE)).status_code == 200
        (tokens / "viewer").write_text("")
        part = await client.get("/", headers={"Accept": "*/*", "HX-Request": "true"})
        assert (part.status_code, part.headers["hx-refresh"]) == (401, "true")
        assert "piko_session" in client.cookies, "the whole page says why the session has ended"
        ended = await client.get("/", headers=_PAGE)
        assert ended.status_code == 401
        assert "The token is not known, or was revoked." in ended.text
        assert "piko_session" not in client.cookies


async def test_a_session_ends_after_twelve_hours(database: TestDatabase, tokens: Path) -> None:
    clock = _LaterClock()
    async with _site(database, tokens, clock=clock) as client:
        await _sign_in(client, "ann-token")
        clock.ahead_s = LIFETIME_S - 60
        assert (await client.get("/jobs", headers=_PAGE)).status_code == 200
        clock.ahead_s = LIFETIME_S + 60
        ended = await client.get("/jobs", headers=_PAGE)
        assert ended.status_code == 401
        assert "Your session has ended: sign in again." in ended.text


async def test_the_button_ends_a_session(database: TestDatabase, tokens: Path) -> None:
    async with _site(database, tokens) as client:
        await _sign_in(client, "ann-token")
        assert (await client.post("/sign-out", data={}, headers=_FROM_HERE)).status_code == 303
        assert (await client.get("/jobs", headers=_PAGE)).status_code == 401


async def test_an_act_with_a_cookie_has_to_come_from_a_page_of_this_server(
    database: TestDatabase, tokens: Path
) -> None:
    async with _site(database, tokens) as client:
        for headers in ({"Origin": "http://evil.test"}, {"Sec-Fetch-Site": "cross-site"}):
            refused = await client.post("/sign-in", data={"token": "bob-token"}, headers=headers)
            assert refused.status_code == 403
        await _sign_in(client, "bob-token")
        for headers in ({}, {"Origin": "http://evil.test"}, {"Sec-Fetch-Site": "cross-site"}):
            assert (await client.post(_PAUSE, json={}, headers=headers)).status_code == 403, headers


async def test_a_viewer_who_signed_in_may_not_act(database: TestDatabase, tokens: Path) -> None:
    async with _site(database, tokens) as client:
        await _sign_in(client, "ann-token")
        assert (await client.post(_PAUSE, json={}, headers=_FROM_HERE)).status_code == 403


async def test_servers_with_one_key_know_each_others_sessions(database: TestDatabase, tokens: Path) -> None:
    shared = SecretStr("k" * 32)
    for key, expected in ((shared, 200), (None, 401)):
        async with _site(database, tokens, session_key=key) as first:
            cookie = (await _sign_in(first, "ann-token")).headers["set-cookie"].split(";")[0]
        async with _site(database, tokens, session_key=key) as second:
            answer = await second.get("/jobs", headers={**_PAGE, "Cookie": cookie})
            assert answer.status_code == expected


@pytest.mark.parametrize("cookie", ["piko_session=x", "piko_session=", "piko_session", '="; ;;\\', "a=b"])
async def test_a_cookie_that_is_none_of_ours_is_no_session(
    database: TestDatabase, tokens: Path, cookie: str
) -> None:
    async with _site(database, tokens) as client:
        assert (await client.get("/jobs", headers={**_PAGE, "Cookie": cookie})).status_code == 401


@pytest.mark.parametrize("to", ["//evil.test/", "https://evil.test/", "/\\evil.test", "a\r\nSet-Cookie: x=y"])
async def test_the_form_leads_to_no_other_site(database: TestDatabase, tokens: Path, to: str) -> None:
    async with _site(database, tokens) as client:
        location = (await _sign_in(client, "ann-token", to=to)).headers["location"]
        assert httpx.URL("http://piko.test/sign-in").join(location).host == "piko.test"


async def test_sign_ins_are_bounded(database: TestDatabase, tokens: Path) -> None:
    async with _site(database, tokens, clock=StandingClock()) as client:
        answers = [await _sign_in(client, "guess") for _ in range(121)]
        assert {answer.status_code for answer in answers[:120]} == {401}
        assert answers[-1].status_code == 429


async def test_where_no_tokens_are_known_nobody_signs_in(database: TestDatabase) -> None:
    async with serving(database) as client:
        assert (await client.get("/sign-in", headers=_PAGE)).status_code == 404
