"""Who may read and act: nobody acts by default, and each way of access names who did."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import httpx
import pytest

from piko.errors import SettingsError
from piko.web.guard import MOST_BYTES
from tests.harness.databases import TestDatabase
from tests.web.clients import StandingClock, serving
from tests.web.rows import add_jobs

_JOBS, _PAUSE = "/api/v1/jobs", "/api/v1/jobs/a:pause"


async def test_by_default_everyone_reads_and_every_post_is_refused(web: httpx.AsyncClient) -> None:
    assert (await web.get(_JOBS)).status_code == 200
    paths = (await web.get("/api/v1/openapi.json")).json()["paths"]
    posts = [path for path, operations in paths.items() if "post" in operations]
    assert len(posts) > 10
    for path in posts:
        answer = await web.post(path.replace("{job_id}", "a"), json={})
        assert answer.status_code == 403, path
        assert "this server is read-only" in answer.json()["detail"]


def _write(folder: Path, **tokens: str) -> None:
    for role, token in tokens.items():
        line = f"{role}-name {hashlib.sha256(token.encode()).hexdigest()}\n"
        (folder / role).write_text(f"# tokens\n{line}")


async def test_a_token_gives_its_role_until_it_is_revoked(sqlite_web: TestDatabase, tmp_path: Path) -> None:
    _write(tmp_path, viewer="reads", operator="acts")
    async with serving(sqlite_web, access="token", tokens_dir=tmp_path) as client:

        async def status(token: str | None, *, header: str = "Authorization") -> tuple[int, int]:
            value = f"Bearer {token}" if header == "Authorization" else str(token)
            headers = {} if token is None else {header: value}
            read = await client.get(_JOBS, headers=headers)
            return read.status_code, (await client.post(_PAUSE, json={}, headers=headers)).status_code

        assert await status(None) == (401, 401)
        assert await status("guess") == (401, 401)
        assert await status("reads") == (200, 403)
        assert await status("acts") == (200, 200)
        assert await status("acts", header="Piko-Token") == (200, 200)
        _write(tmp_path, operator="another")
        assert await status("acts") == (401, 401)
        assert await status("another") == (200, 200)
        who = (await client.get("/api/v1/changes", headers={"Piko-Token": "reads"})).json()["items"][0]["who"]
        assert who == "operator-name"


async def test_headers_count_only_from_a_trusted_proxy(sqlite_web: TestDatabase) -> None:
    ann = {"X-Forwarded-User": "ann", "X-Forwarded-Groups": "night, data"}
    for trusted, operators, expected in [
        ((), ("data",), (401, 401)),
        (("10.0.0.0/8",), ("data",), (401, 401)),
        (("127.0.0.1",), (), (200, 403)),
        (("127.0.0.0/8",), ("data",), (200, 200)),
        (("127.0.0.0/8",), ("ann",), (200, 200)),
    ]:
        settings: dict[str, Any] = {"access": "header", "trusted_proxies": trusted, "operators": operators}
        async with serving(sqlite_web, **settings) as client:
            read = await client.get(_JOBS, headers=ann)
            act = await client.post(_PAUSE, json={}, headers=ann)
            assert (read.status_code, act.status_code) == expected, settings
            assert (await client.get(_JOBS)).status_code == 401, "the proxy names nobody"


@pytest.mark.parametrize("settings", [{"access": "token"}, {"access": "header", "trusted_proxies": ("x",)}])
async def test_access_that_cannot_work_is_an_error_of_the_settings(
    sqlite_web: TestDatabase, settings: dict[str, Any]
) -> None:
    with pytest.raises(SettingsError, match=r"web_tokens_dir|web_trusted_proxies"):
        async with serving(sqlite_web, **settings):
            pass


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 200),
        ({"Origin": "http://piko.test"}, 200),
        ({"Origin": "http://evil.test"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
async def test_an_act_from_a_page_of_another_site_is_refused(
    acting: httpx.AsyncClient, emptied_database: TestDatabase, headers: dict[str, str], expected: int
) -> None:
    await add_jobs(emptied_database, "a")
    assert (await acting.post(_PAUSE, json={}, headers=headers)).status_code == expected


async def test_a_body_of_more_than_64_kb_is_refused_whether_or_not_it_says_so(
    acting: httpx.AsyncClient,
) -> None:
    async def parts() -> object:
        for _ in range(66):
            yield b" " * 1024

    for content in (b" " * (MOST_BYTES + 1), parts()):
        answer = await acting.post(_PAUSE, content=content)  # type: ignore[arg-type]
        assert (answer.status_code, "65,536 bytes" in answer.json()["detail"]) == (413, True)


async def test_acts_of_one_caller_are_bounded(sqlite_web: TestDatabase) -> None:
    proxy: dict[str, Any] = {"access": "header", "operators": ("ann",), "trusted_proxies": ("127.0.0.1/32",)}
    async with serving(sqlite_web, clock=StandingClock(), **proxy) as acting:
        acting.headers["X-Forwarded-User"] = "ann"
        path = "/api/v1/jobs/none:pause"
        answers = [await acting.post(path, json={}) for _ in range(121)]
    assert {answer.status_code for answer in answers[:120]} == {404}
    assert (answers[-1].status_code, answers[-1].headers["retry-after"]) == (429, "60")


async def test_every_answer_forbids_what_a_page_does_not_need(web: httpx.AsyncClient) -> None:
    for path in ("/api/v1/jobs", "/nothing"):
        headers = (await web.get(path)).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "unsafe" not in headers["content-security-policy"]
        assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")


@pytest.fixture
async def sqlite_web(sqlite: TestDatabase) -> TestDatabase:
    """A database with one job, `a`."""
    from piko.store.schema.migrate import upgrade

    await upgrade(sqlite.dsn)
    await add_jobs(sqlite, "a")
    return sqlite
