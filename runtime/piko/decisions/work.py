"""Where work comes from: one interface for what is due and for what somebody asks to run again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from piko.core.types import RunState
from piko.decisions.events import Tick
from piko.decisions.open_runs import OpenRuns
from piko.model.runs import Outcome, Run

Stage = Callable[[Tick], None]
"""Part of a turn: decides what to claim or to start by then, of all but the jobs that are left out."""


class WorkSource(Protocol):
    """Claims runs and follows each of them to its end. What it decides goes to the leader's outbox."""

    progress: OpenRuns
    """The runs that came of it."""

    @property
    def stages(self) -> Sequence[Stage]:
        """What it does in a turn. A stage begins when the effects of the one before are carried out."""
        ...

    def started(self, runs: Sequence[Run], won: Collection[str], now: datetime) -> None:
        """Of `runs` that waited, those of `won` were still there, and begin."""
        ...

    def recorded(self, outcomes: Sequence[Outcome], now: datetime) -> None:
        """The outcomes are written: free their slots, and look at what follows."""
        ...

    def left(self, ends: Mapping[str, RunState | None], now: datetime) -> None:
        """Runs have ended without this replica, as the database says; None: their rows are deleted.

        Retries that came of it wait already: they are to be taken in first.
        """
        ...
