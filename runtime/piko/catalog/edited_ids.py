"""Ids of jobs whose rows were edited, kept until somebody asks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

_MOST = 20_000


@dataclass(slots=True)
class EditedIds:
    """Job ids since they were taken last. Beyond `most` of them only that there were too many to keep.

    A standby hears of edits for months, and nobody takes them: ids of jobs that come and go must not pile up.
    """

    most: int = _MOST
    _ids: set[str] = field(default_factory=set)
    _too_many: bool = False

    def add(self, job_ids: Iterable[str]) -> None:
        """Add `job_ids`."""
        if self._too_many:
            return
        self._ids.update(job_ids)
        if len(self._ids) > self.most:
            self._ids, self._too_many = set(), True

    def take(self) -> set[str] | None:
        """The ids since the last call; None: there were too many, so any job may be one of them."""
        ids, too_many = self._ids, self._too_many
        self._ids, self._too_many = set(), False
        return None if too_many else ids
