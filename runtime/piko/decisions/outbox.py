"""The effects of one step, while it is being decided."""

from __future__ import annotations

from piko.decisions.effects import Effect, Level, Log, ReadAgain, TakeInAgain
from piko.decisions.series import JobSeries


class Outbox:
    """Collects the effects that the parts of a leader decide. `take` returns them and empties the outbox."""

    def __init__(self) -> None:
        self.series = JobSeries()
        self._effects: list[Effect] = []
        self._take_in_again: set[str] = set()
        self._read_again: set[str] = set()

    def put(self, effect: Effect) -> None:
        """Add an effect; effects are carried out in this order."""
        self._effects.append(effect)

    def log(self, level: Level, event: str, **facts: object) -> None:
        """Add an event for the log."""
        self._effects.append(Log(level=level, event=event, facts=facts))

    def take_in_again(self, job_id: str) -> None:
        self._take_in_again.add(job_id)

    def read_again(self, job_id: str) -> None:
        self._read_again.add(job_id)

    def take(self) -> list[Effect]:
        """The effects of the step: first those that inform other parts, then those that were put."""
        first: list[Effect] = []
        if (export := self.series.take()) is not None:
            first.append(export)
        if self._read_again:
            first.append(ReadAgain(job_ids=frozenset(self._read_again)))
            self._read_again.clear()
        if self._take_in_again:
            first.append(TakeInAgain(job_ids=frozenset(self._take_in_again)))
            self._take_in_again.clear()
        effects, self._effects = self._effects, []
        return first + effects
