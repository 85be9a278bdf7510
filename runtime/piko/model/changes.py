"""Changes that people and programs make to jobs and runs, as `change_log` keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who changes something, by which way, and why, by their own account.

    `via` is `api`, `page`, `cli`, `resource`, `sql`, or `leader` for what it does by itself at a set time.
    `traceparent` names the span in which they do it, if they send one along: the runs that they ask for
    belong to its trace.
    """

    who: str
    via: str
    reason: str | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedChange:
    """One row of `change_log`; `before` and `after` are JSON, without secrets."""

    change_id: str
    at: datetime
    who: str
    via: str
    what: str
    job_id: str | None
    before: str | None
    after: str | None
    reason: str | None
