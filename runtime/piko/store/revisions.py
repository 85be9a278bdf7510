"""Which revision of a config is in force: the rule that the runtime follows and the operator tells."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Protocol, TypeVar


class Revision(Protocol):
    """What the rule asks of a revision."""

    @property
    def error(self) -> str | None: ...
    @property
    def effective_from(self) -> datetime | None: ...
    @property
    def created_at(self) -> datetime: ...


R = TypeVar("R", bound=Revision)


def revision_in_force(revisions: Sequence[R], now: datetime) -> R | None:
    """Of `revisions`, oldest first, the newest that has taken effect.

    It is valid, its `effective_from` has come, and until then no other valid one had taken its place in the
    row.
    """
    valid = [item for item in revisions if item.error is None]
    in_time = [
        item
        for item, successor in pairwise(valid)
        if item.effective_from is None or item.effective_from <= successor.created_at
    ]
    for item in reversed([*in_time, *valid[-1:]]):
        if item.effective_from is None or item.effective_from <= now:
            return item
    return None
