"""The webhook hears of each change, whatever the receiver, the hooks and the leader do."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

import pytest

from piko import JobFailure
from piko.settings import Settings
from piko.store.schema.migrate import upgrade
from tests.harness.databases import TestDatabase
from tests.harness.processes import ChildProcess
from tests.harness.waiting import wait_until_async
from tests.harness.webhooks import KEY, Posted, WebhookServer, example_receiver
from tests.runtime.replicas import Replicas
from tests.runtime.shop import EVERY_SECOND, SINCE_MONDAY, Shop, settings_of, until_announced

_TABLE = "webhook_announcement"


@pytest.fixture
async def database(sqlite: TestDatabase) -> TestDatabase:
    await upgrade(sqlite.dsn)
    return sqlite


def _settings(database: TestDatabase, folder: Path, server: WebhookServer, **settings: float) -> Settings:
    return settings_of(database, folder, webhook_url=server.url, webhook_key=KEY, **settings)


def _count(shop: Shop, outcome: str, called_for: str) -> float:
    labels = {"called_for": called_for, "outcome": outcome}
    return shop.app.metrics.registry.get_sample_value("piko_webhook_posts_total", labels) or 0.0


def _oldest(shop: Shop) -> float | None:
    return shop.app.metrics.registry.get_sample_value("piko_webhook_oldest_timestamp_seconds")


async def _until_nothing_waits(database: TestDatabase) -> None:
    async def is_empty() -> bool:
        return not await database.execute("SELECT post_id FROM webhook_post")

    await wait_until_async(is_empty, what="everything to be posted")


async def test_a_failure_and_the_recovery_are_posted_once_each_and_signed(
    database: TestDatabase, tmp_path: Path
) -> None:
    shop = Shop()
    await database.execute(EVERY_SECOND.format("orders"))
    with WebhookServer() as server:
        async with shop.app.running(_settings(database, tmp_path, server)):
            await until_announced(database, ("orders", "failure"), table=_TABLE)
            runs = shop.runs
            await wait_until_async(lambda: shop.runs >= runs + 3, what="three more failures")
            shop.fails = False
            await until_announced(database, table=_TABLE)
            await _until_nothing_waits(database)
            assert _oldest(shop) is None
    failure, recovery = server.posts
    assert (failure.said["type"], recovery.said["type"]) == ("job.failure", "job.recovered")
    assert failure.said["text"] == "orders fails: ValueError: no such table"
    assert failure.said["data"]["error_type"] == "ValueError"
    assert recovery.said["data"]["since"] == failure.said["data"]["finished_at"]
    assert failure.post_id != recovery.post_id
    verified = example_receiver().verified
    assert all(verified(post.headers, post.body, KEY, now=time.time()) for post in server.posts)
    assert (_count(shop, "sent", "failure"), _count(shop, "sent", "recovered")) == (1.0, 1.0)


async def test_a_post_is_tried_again_under_its_id_and_what_follows_waits_for_it(
    database: TestDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = Shop()
    shop.listen()
    await database.execute(EVERY_SECOND.format("orders"))
    with WebhookServer(lambda _: 503) as server:
        async with shop.app.running(_settings(database, tmp_path, server)):
            await wait_until_async(lambda: len(server.posts) >= 2, what="a second try")
            assert _oldest(shop) is not None
            await until_announced(database, ("orders", "failure"))  # hooks do not wait for it
            shop.fails = False
            await until_announced(database, table=_TABLE)
            server.answer = lambda _: 204
            await _until_nothing_waits(database)
    *failures, recovery = server.posts
    assert {post.post_id for post in failures} == {failures[0].post_id}
    assert {post.body for post in failures} == {failures[0].body}
    assert recovery.said["type"] == "job.recovered"
    assert _count(shop, "failed", "failure") == len(failures) - 1
    output = capsys.readouterr().out
    assert "it answered 503" in output
    assert "5ECRET" not in output


async def test_a_hook_that_hangs_holds_up_no_post(database: TestDatabase, tmp_path: Path) -> None:
    shop, over = Shop(), asyncio.Event()

    @shop.app.on_failure
    async def hangs(failure: JobFailure) -> None:
        await over.wait()

    await database.execute(EVERY_SECOND.format("orders"))
    with WebhookServer() as server:
        async with shop.app.running(_settings(database, tmp_path, server, hook_timeout_s=600)):
            await until_announced(database, ("orders", "failure"), table=_TABLE)
            await _until_nothing_waits(database)
            over.set()
    assert len(server.posts) == 1


async def test_a_server_that_hangs_holds_up_no_hook_and_no_run(
    database: TestDatabase, tmp_path: Path
) -> None:
    shop = Shop()
    shop.listen()
    await database.execute(EVERY_SECOND.format("orders"))
    with WebhookServer() as server:
        server.answer = server.hang
        async with shop.app.running(_settings(database, tmp_path, server, webhook_timeout_s=600)):
            await wait_until_async(lambda: server.posts, what="a post that is not answered")
            await until_announced(database, ("orders", "failure"))
            runs, shop.fails = shop.runs, False
            await wait_until_async(lambda: shop.runs > runs, what="runs go on")
            await until_announced(database)


async def test_what_is_refused_for_too_long_is_given_up_and_announced_again_by_the_line_in_the_log(
    database: TestDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = Shop()
    await database.execute(SINCE_MONDAY.format("orders"))
    await database.execute(SINCE_MONDAY.format("others"))
    refused = {"orders"}
    with WebhookServer(lambda post: 400 if post.said["data"]["job_id"] in refused else 204) as server:
        async with shop.app.running(_settings(database, tmp_path, server, webhook_retry_s=2)):
            await until_announced(database, ("orders", "late"), ("others", "late"), table=_TABLE)
            await wait_until_async(lambda: _count(shop, "given_up", "late"), what="it to be given up")
            await _until_nothing_waits(database)
            output = capsys.readouterr().out
            (line,) = [line for line in output.splitlines() if "webhook_given_up" in line]
            assert "it answered 400" in line
            (again,) = re.findall(
                r"DELETE FROM webhook_announcement WHERE job_id = '\w+' AND kind = '\w+'", line
            )
            refused.clear()
            await database.execute(again)
            await wait_until_async(lambda: _count(shop, "sent", "late") == 2, what="it to be announced again")
            await _until_nothing_waits(database)
    others = [post for post in server.posts if post.said["data"]["job_id"] == "others"]
    assert len(others) == 1


async def test_a_leader_killed_between_the_post_and_its_mark_leaves_the_same_post_to_the_next(
    database: TestDatabase, tmp_path: Path, replicas: Replicas
) -> None:
    await database.execute(SINCE_MONDAY.format("quick"))
    leaders: list[ChildProcess] = []

    def answer(_: Posted) -> int:
        if len(leaders) == 1:
            leaders[0].kill()  # it has posted, and hears no answer
        return 204

    with WebhookServer(answer) as server:
        environment = {"PIKO_WEBHOOK_URL": server.url, "PIKO_WEBHOOK_KEY": KEY}
        leaders.append(replicas.start(database.dsn, environment=environment, name="first").process)
        await wait_until_async(lambda: not leaders[0].running, what="the first leader to be killed")
        leaders.append(replicas.start(database.dsn, environment=environment, name="second").process)
        await _until_nothing_waits(database)
        await until_announced(database, ("quick", "late"), table=_TABLE)
    first, second = server.posts
    assert (first.post_id, first.body) == (second.post_id, second.body)
