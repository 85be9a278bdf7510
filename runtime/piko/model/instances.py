"""Instances: processes that run jobs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from piko.model.runs import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One start of one process; a restart in the same pod is another instance.

    `version` is its release of Piko.
    """

    instance_id: str
    app: str
    host: str
    pid: int
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StartMark:
    """What an instance may have started of the runs that were claimed ahead.

    An instance writes `starts_until` before it starts such a run, and starts none with a later `starts_at`.
    It cannot write any more once what it began under `fenced_epoch` was taken from it, or it has `stopped`.
    """

    starts_until: datetime | None
    fenced_epoch: int | None
    stopped: bool = False

    def excludes(self, run: Run, *, dropped: bool = False) -> bool:
        """Whether it is certain that the instance has not started `run`, and never will.

        `dropped`: the instance itself says that it no longer waits for the time of `run`.
        """
        if run.starts_at is None or run.epoch is None:
            return False
        if not (self.stopped or dropped) and (self.fenced_epoch or 0) < run.epoch:
            return False
        return self.starts_until is None or self.starts_until < run.starts_at
