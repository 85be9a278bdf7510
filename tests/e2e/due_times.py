"""What the rows of runs say of an interval job: which due times ran, how late, and how often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class DueTimes:
    """One stretch of due times, and what became of each. Delays are seconds from due time to start."""

    due: int
    missed: tuple[datetime, ...]
    """Without a run that began, or with one that failed."""
    lost: tuple[datetime, ...]
    """Begun by a process that ended before it had written the outcome."""
    succeeded_twice: tuple[datetime, ...]
    tried_again: int
    longest_delay_s: float
    longest_gap_s: float
    """Between two starts after one another."""

    def troubles(self, *, killed: bool = False) -> list[str]:
        """What is not as promised; a process that was `killed` may have taken outcomes with it."""
        found = []
        if self.lost and not killed:
            found.append(f"{len(self.lost)} runs were lost, first {self.lost[0]}")
        if self.missed:
            found.append(f"{len(self.missed)} due times without a run that succeeded, first {self.missed[0]}")
        if self.succeeded_twice:
            found.append(f"{len(self.succeeded_twice)} due times ran twice, first {self.succeeded_twice[0]}")
        return found

    def __str__(self) -> str:
        return (
            f"{self.due} due times, {len(self.missed)} missed, {len(self.succeeded_twice)} run twice, "
            f"{len(self.lost)} lost with their process, "
            f"{self.tried_again} attempts that were tried again; latest start {self.longest_delay_s:.2f} s "
            f"after its due time, longest gap between starts {self.longest_gap_s:.2f} s"
        )


def judged(
    runs: Iterable[Mapping[str, Any]], *, begin: datetime, end: datetime, every: timedelta
) -> DueTimes:
    """What `runs` say of each due time from `begin` to before `end`; `begin` is one."""
    due = [begin + every * number for number in range(int((end - begin) / every))]
    within = [run for run in runs if begin <= _instant(run["scheduled_time"]) < end]
    succeeded = Counter(_instant(run["scheduled_time"]) for run in within if run["state"] == "SUCCESS")
    ended = {
        _instant(run["scheduled_time"]) for run in within if run["state"] == "LOST" and run["started_at"]
    }
    lost = tuple(each for each in due if not succeeded[each] and each in ended)
    begun = [
        (_instant(run["scheduled_time"]), _instant(run["started_at"]))
        for run in within
        if run["started_at"] is not None
    ]
    starts = sorted(started for _, started in begun)
    return DueTimes(
        due=len(due),
        missed=tuple(each for each in due if not succeeded[each] and each not in lost),
        lost=lost,
        succeeded_twice=tuple(each for each, count in succeeded.items() if count > 1),
        tried_again=sum(run["attempt"] > 1 for run in within),
        longest_delay_s=max(((started - due).total_seconds() for due, started in begun), default=0.0),
        longest_gap_s=max(
            ((later - earlier).total_seconds() for earlier, later in pairwise(starts)), default=0.0
        ),
    )


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)
