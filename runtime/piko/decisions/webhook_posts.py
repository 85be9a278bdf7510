"""What is posted of a change, and which posts go next: pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from piko.core.hooks import HookValue
from piko.core.types import DataInterval
from piko.decisions.announcing import event_of
from piko.model.webhook_posts import WaitingPost, WebhookPost
from piko.text import instant_text

BODY_VERSION = 1
"""It grows when a receiver has to be changed. A further field is no such change."""


def post_of(value: HookValue, *, post_id: str, now: datetime) -> WebhookPost:
    """The post that announces `value`."""
    event = event_of(value)
    body = {
        "version": BODY_VERSION,
        "id": post_id,
        "type": f"job.{event}",
        "timestamp": instant_text(now),
        "text": value.text,
        "data": {field.name: _plain(getattr(value, field.name)) for field in fields(value)},
    }
    return WebhookPost(
        post_id=post_id,
        job_id=value.job_id,
        event=event.value,
        body=json.dumps(body, ensure_ascii=False, separators=(",", ":")),
        created_at=now,
    )


def next_posts(waiting: Sequence[WaitingPost], *, now: datetime, most: int) -> list[WaitingPost]:
    """Those of `waiting`, oldest first, that are to be tried now: of each job the oldest, in its turn.

    So a job is never said to have recovered before it is said to fail.
    """
    return [post for post in _heads(waiting) if post.next_try_at is None or post.next_try_at <= now][:most]


def _heads(waiting: Sequence[WaitingPost]) -> Iterator[WaitingPost]:
    seen: set[str] = set()
    for post in waiting:
        if post.job_id not in seen:
            seen.add(post.job_id)
            yield post


def _plain(value: object) -> Any:
    if isinstance(value, datetime):
        return instant_text(value)
    if isinstance(value, DataInterval):
        return {"start": instant_text(value.start), "end": instant_text(value.end)}
    return value  # words of an enumeration are text
