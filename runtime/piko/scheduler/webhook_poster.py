"""Posts to the webhook what waits in `webhook_post`, while this replica leads.

A row goes once the receiver has accepted its post. A leader that is killed between the two leaves the row, so
that the next one posts it again, with the same `webhook-id` and the same body.

A receiver that does not accept one post may refuse only that: the others go on. Where all of a round fail, it
is presumed away, and a single post is tried at growing intervals until one is accepted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from piko.background.backoff import Backoff
from piko.background.periodic import Transient, repeat
from piko.clock import Clock
from piko.decisions.webhook_posts import next_posts
from piko.errors import DatabaseUnavailableError, FencedError, SettingsError, TransientError
from piko.execution.webhook_calls import WebhookCalls
from piko.leadership.elector import Elector, leadership
from piko.model.fences import Fence
from piko.model.webhook_posts import WaitingPost, WebhookPost
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.store.webhook_posts import WebhookPostStore, announce_again

_EVERY_S = 1.0
_AT_ONCE = 8
_BACKOFF = Backoff(first_s=1.0, longest_s=60.0)

log = get_logger(__name__)


class WebhookAwayError(TransientError):
    """None of the posts of a round was accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedOnce:
    """One try; `trouble`: why the receiver has not accepted it, None: it has."""

    waiting: WaitingPost
    post: WebhookPost
    trouble: str | None


class WebhookPoster:
    """Makes a round every second while `elector` leads, or when `queued` is set.

    `retry_s`: how long a post is tried again before it is given up.
    """

    name = "webhook_poster"

    def __init__(
        self,
        *,
        store: WebhookPostStore,
        calls: WebhookCalls,
        queued: asyncio.Event,
        elector: Elector,
        clock: Clock,
        metrics: Metrics,
        retry_s: float,
    ) -> None:
        self._store = store
        self._calls = calls
        self._queued = queued
        self._elector = elector
        self._clock = clock
        self._metrics = metrics
        self._retry = timedelta(seconds=retry_s)
        self._accepted: set[str] = set()
        """What the receiver has, and whose row could not be deleted yet."""
        self._is_away = False
        self._is_more = False

    async def run(self) -> None:
        """Post, until cancelled."""
        database_away = Transient(errors=(DatabaseUnavailableError,), report=self._failed)
        away = Transient(errors=(WebhookAwayError,), report=self._presume_away, backoff=_BACKOFF)
        await repeat(
            self._round_if_leading, pause_s=self._pause_s, wake=self._queued, transient=[database_away, away]
        )

    def _pause_s(self) -> float:
        return 0.0 if self._is_more else _EVERY_S

    async def _round_if_leading(self) -> None:
        fence = await leadership(self._elector)
        try:
            await self.round(fence)
        except FencedError:
            self._elector.deposed(fence)

    async def round(self, fence: Fence) -> None:
        """Try the next posts once.

        Raises `FencedError`, `DatabaseUnavailableError`, and `WebhookAwayError` if none was accepted.
        """
        self._is_more = False
        await self._delete_accepted(fence)
        waiting = await self._store.waiting()
        self._metrics.webhook_oldest.replace({"": waiting[0].created_at if waiting else None})
        chosen = next_posts(waiting, now=self._clock.now(), most=1 if self._is_away else _AT_ONCE)
        if not chosen:
            return
        tried = await self._try(chosen)
        accepted = {item.post.post_id for item in tried if item.trouble is None}
        self._accepted |= accepted
        for item in tried:
            await self._conclude(item, fence)
        if tried and not accepted:
            raise WebhookAwayError(tried[0].trouble)
        self._is_away, self._is_more = False, True

    async def _try(self, chosen: Sequence[WaitingPost]) -> list[PostedOnce]:
        posts = {post.post_id: post for post in await self._store.read([item.post_id for item in chosen])}
        found = [(item, posts[item.post_id]) for item in chosen if item.post_id in posts]
        troubles: Sequence[str | None]
        try:
            receiver = await self._calls.receiver()
        except SettingsError as error:
            troubles = [str(error)] * len(found)
        else:
            troubles = await asyncio.gather(*(self._calls.trouble_of(post, receiver) for _, post in found))
        return [
            PostedOnce(waiting=item, post=post, trouble=trouble)
            for (item, post), trouble in zip(found, troubles, strict=True)
        ]

    async def _conclude(self, item: PostedOnce, fence: Fence) -> None:
        post, trouble = item.post, item.trouble
        if trouble is None:
            self._count(post, "sent")
            await self._delete_accepted(fence)
            return
        self._count(post, "failed")
        tries = item.waiting.attempts + 1
        now = self._clock.now()
        if now - post.created_at < self._retry:
            log.warning(
                "webhook_failed", job_id=post.job_id, called_for=post.event, webhook_id=post.post_id,
                tries=tries, error=trouble, remedy="it is tried again; see webhook_url and webhook_key",
            )  # fmt: skip
            pause = timedelta(seconds=_BACKOFF.pause_s(tries))
            await self._store.failed(post.post_id, fence, error=trouble, next_try_at=now + pause)
        else:
            await self._store.remove(post.post_id, fence)
            self._give_up(item, now)

    async def _delete_accepted(self, fence: Fence) -> None:
        for post_id in list(self._accepted):
            await self._store.remove(post_id, fence)
            self._accepted.discard(post_id)

    def _give_up(self, item: PostedOnce, now: datetime) -> None:
        post = item.post
        self._count(post, "given_up")
        remedy = "put right what the error says"
        if post.event != "recovered":
            remedy += f"; to have it announced again if it still holds: {announce_again(post)}"
        log.error(
            "webhook_given_up", job_id=post.job_id, called_for=post.event, webhook_id=post.post_id,
            waited_s=round((now - post.created_at).total_seconds()), tries=item.waiting.attempts + 1,
            error=item.trouble, remedy=remedy,
        )  # fmt: skip

    def _count(self, post: WebhookPost, outcome: str) -> None:
        self._metrics.webhook_posts.labels(post.event, outcome).inc()

    def _presume_away(self, _error: Exception) -> None:
        self._is_away = True

    def _failed(self, error: Exception) -> None:
        self._metrics.db_errors.labels(self.name).inc()
        log.warning("webhook_waits", error=str(error))
