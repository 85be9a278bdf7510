"""Which revision of a config is in force, and what is kept of the others.

The runtime follows the first rule, and the operator reports it. A config may hold secrets; those of a
revision that will not be in force again are not needed, so they are blanked. Its number, hash and plain part
are kept, for the runs that name it and for people who want to roll back to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
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
    @property
    def secret_blanked_at(self) -> datetime | None: ...


R = TypeVar("R", bound=Revision)


def revision_in_force(revisions: Sequence[R], now: datetime) -> R | None:
    """Of `revisions`, oldest first, the newest that has taken effect.

    It is valid and whole, its `effective_from` has come, and until then no other valid one had taken its
    place in the row.
    """
    valid = [item for item in revisions if item.error is None and item.secret_blanked_at is None]
    in_time = [
        item
        for item, successor in pairwise(valid)
        if item.effective_from is None or item.effective_from <= successor.created_at
    ]
    for item in reversed([*in_time, *valid[-1:]]):
        if item.effective_from is None or item.effective_from <= now:
            return item
    return None


SETTLED = timedelta(minutes=10)
"""A revision that was in force so long ago is not on its way into a run any more."""
KEPT = 100
"""Revisions of a job that are no longer in force; the oldest go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stale:
    """Numbers of revisions: whose secrets are to be blanked, and which are to be pruned."""

    blank: Sequence[int]
    prune: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionMark:
    """A revision without its content."""

    revision: int
    error: str | None
    effective_from: datetime | None
    created_at: datetime
    secret_blanked_at: datetime | None = None
    has_secret: bool = False


def stale_revisions(
    revisions: Sequence[RevisionMark], *, has_row: bool, now: datetime, max_age: timedelta
) -> Stale:
    """The parts of the `revisions` of a job, oldest first, that are no longer needed.

    The one in force and all later ones are needed, whether they are valid or not: each may take effect yet.
    Of a job without a row none is in force, and what is older than `max_age` goes too.
    """
    then = now - SETTLED
    settled = [item for item in revisions if item.created_at <= then]
    if has_row:
        in_force = revision_in_force(settled, then)
        old = [] if in_force is None else [item for item in settled if item.revision < in_force.revision]
        prune = [item.revision for item in old[:-KEPT]]
    else:
        old = settled
        prune = [item.revision for item in old if item.created_at <= now - max_age]
    return Stale(blank=[item.revision for item in old if item.has_secret], prune=prune)
