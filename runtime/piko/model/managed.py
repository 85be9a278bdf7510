"""Rows that a custom resource owns, and the changes made to them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from piko.model.changes import Actor
from piko.model.configs import ConfigContent
from piko.model.schedules import ScheduleOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedSchedule(ScheduleOptions):
    """The columns of `scheduled_job` that a PikoSchedule decides; `managed_by` names it, None is SQL."""

    managed_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedConfig(ConfigContent):
    """The columns of `job_config` that a PikoJobConfig decides; `managed_by` names it, None is SQL."""

    managed_by: str | None


OPERATOR = Actor(who="piko-operator", via="resource")
"""Who writes what no resource asks for now."""

R = TypeVar("R", ManagedSchedule, ManagedConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held(Generic[R]):
    """A row as it was read, at that version; `secret_unreadable`: why its secret part is still encrypted."""

    row: R
    version: int
    secret_unreadable: str | None = None


class Verb(StrEnum):
    """What is done to a row."""

    CREATE = "create"
    REPLACE = "replace"
    DELETE = "delete"
    """How far the job had come is kept for its next row."""
    FORGET = "forget"
    """Delete it, and with it how far the job had come, or every revision of its config."""
    DISABLE = "disable"
    """Switch it off and hand it back to SQL."""
    SUSPEND = "suspend"
    """Switch it off; its owner keeps it."""
    HAND_BACK = "hand_back"
    """Hand it back to SQL as it is."""


class WriteResult(StrEnum):
    """What a change came to."""

    DONE = "done"
    STALE = "stale"
    """The row was changed in the meantime: read it and decide again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(Generic[R]):
    """One row to write; `seen` is the row that the decision was made for, absent for `CREATE`.

    `by` is who `change_log` names; `restores`: it puts back what the resource has said before.
    """

    verb: Verb
    job_id: str
    row: R | None = None
    seen: Held[R] | None = None
    by: Actor = OPERATOR
    restores: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedChange:
    """The database does not accept the row; `why` is what it said."""

    why: str
