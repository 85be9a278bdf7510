"""What an act may say, and what is answered to one on many jobs."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from piko.model.changes import Actor
from piko.model.runs import Run
from piko.steering.bulk import ItemResult
from piko.web.access.roles import Caller


class Act(BaseModel):
    """An act: why, and whether to check it only."""

    model_config = ConfigDict(extra="forbid")

    reason: str | None = Field(None, max_length=1000, description="Why; kept in change_log.")
    dry_run: bool = Field(False, description="Check it, and change nothing.")


class Done(BaseModel):
    """What every answer to an act says beside its result."""

    dry_run: bool = Field(description="Nothing was changed: this is what the act would do.")
    shell: str = Field(description="The same act at a shell.")


class BulkResult(Done):
    """What an act did to each job or run that its filter leaves."""

    changed: int
    refused: int
    results: list[ItemResult]

    @classmethod
    def of(cls, results: list[ItemResult], *, dry_run: bool, shell: str) -> BulkResult:
        """`results`, counted."""
        return cls(
            dry_run=dry_run,
            shell=shell,
            changed=sum(item.result == "changed" for item in results),
            refused=sum(item.result == "refused" for item in results),
            results=results,
        )


class RunDone(Done):
    """A run that an act has queued or ended, or would."""

    run: Run


def by_api(caller: Caller, act: Act) -> Actor:
    """The caller, as `change_log` names them."""
    return Actor(who=caller.who, via="api", reason=act.reason, traceparent=caller.traceparent)
