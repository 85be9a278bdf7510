"""What waits for the webhook is written with its announcement, under the fence, and read oldest first."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from piko.errors import FencedError
from piko.model.announcements import AnnouncedKind, Announcement, Recipient
from piko.model.webhook_posts import WebhookPost
from piko.store.announcements import AnnouncementStore
from piko.store.engine import Database
from piko.store.webhook_posts import WebhookPostStore
from tests.harness.databases import TestDatabase
from tests.store.making import lead

_SINCE = datetime(2026, 1, 5, 8, tzinfo=UTC)
_LATE = Announcement(job_id="orders", kind=AnnouncedKind.LATE, since=_SINCE)


def _post(number: int) -> WebhookPost:
    return WebhookPost(
        post_id=f"p{9 - number}",
        job_id="orders",
        event="late",
        body='{"text": "é"}',
        created_at=_SINCE + timedelta(microseconds=number),
    )


async def test_a_post_and_its_announcement_are_written_together_and_apart_from_those_of_hooks(
    store: Database, emptied_database: TestDatabase
) -> None:
    posts, fence = WebhookPostStore(database=store), await lead(store)
    said = AnnouncementStore(database=store, recipient=Recipient.WEBHOOK)
    hooks = AnnouncementStore(database=store, recipient=Recipient.HOOKS)
    await posts.queue([_post(1)], fence, begun=[_LATE], ended=[])
    assert (await said.read_all(), await hooks.read_all(), await posts.count()) == ([_LATE], [], 1)
    deposed = replace(fence, epoch=fence.epoch - 1)
    with pytest.raises(FencedError):
        await posts.queue([_post(2)], deposed, begun=[], ended=[_LATE])
    assert (await said.read_all(), await posts.count()) == ([_LATE], 1)
    await posts.queue([_post(2)], fence, begun=[], ended=[_LATE])
    assert (await said.read_all(), await posts.count()) == ([], 2)
    await posts.queue([], fence, begun=[], ended=[])


async def test_posts_are_read_oldest_first_and_a_try_that_failed_is_put_off(
    store: Database, emptied_database: TestDatabase
) -> None:
    posts, fence = WebhookPostStore(database=store), await lead(store)
    await posts.queue([_post(2), _post(1), _post(3)], fence, begun=[_LATE], ended=[])
    assert [post.post_id for post in await posts.waiting()] == ["p8", "p7", "p6"]
    later = _SINCE + timedelta(minutes=1)
    await posts.failed("p8", fence, error="it answered 500: é", next_try_at=later)
    await posts.failed("p8", fence, error="it answered 502", next_try_at=later)
    first, second, _ = await posts.waiting()
    assert (first.attempts, first.next_try_at, first.created_at) == (2, later, _post(1).created_at)
    assert (second.attempts, second.next_try_at) == (0, None)
    assert await posts.read(["p8", "unknown"]) == [_post(1)]
    await posts.remove("p8", fence)
    for change in (
        posts.remove("p7", replace(fence, epoch=fence.epoch - 1)),
        posts.failed("p7", replace(fence, epoch=fence.epoch - 1), error="", next_try_at=later),
    ):
        with pytest.raises(FencedError):
            await change
    assert [post.post_id for post in await posts.waiting()] == ["p7", "p6"]
