"""Announcements on their way to the webhook."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookPost:
    """One announcement that is to be posted.

    - `post_id`: the same in each try, by whichever replica.
    - `event`: what it announces: `failure`, `late` or `recovered`.
    - `body`: JSON, as it is signed and posted.
    """

    post_id: str
    job_id: str
    event: str
    body: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingPost:
    """How far a `WebhookPost` has come; `next_try_at`: not before then, None: at once."""

    post_id: str
    job_id: str
    created_at: datetime
    attempts: int
    next_try_at: datetime | None
