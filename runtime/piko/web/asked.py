"""What an act may say, and what is answered to one on many jobs."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from piko.model.changes import Actor
from piko.web.access.roles import Caller


class Act(BaseModel):
    """An act: why, and whether to check it only."""

    model_config = ConfigDict(extra="forbid")

    reason: str | None = Field(None, max_length=1000, description="Why; kept in change_log.")
    dry_run: bool = Field(False, description="Check it, and change nothing.")


class JobResult(BaseModel):
    """What an act on many jobs did to one of them."""

    job_id: str
    result: Literal["changed", "unchanged", "refused"]
    detail: str | None = Field(None, description="Why it was refused.")


class BulkResult(BaseModel):
    """What an act did to the jobs that its filter leaves."""

    dry_run: bool
    changed: int
    refused: int
    results: list[JobResult]


def by_api(caller: Caller, act: Act) -> Actor:
    """The caller, as `change_log` names them."""
    return Actor(who=caller.who, via="api", reason=act.reason)
