"""Rows that a custom resource owns, and the changes made to them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

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


R = TypeVar("R", ManagedSchedule, ManagedConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held(Generic[R]):
    """A row as it was read."""

    row: R
    version: int


class Verb(StrEnum):
    """What is done to a row."""

    CREATE = "create"
    REPLACE = "replace"
    DELETE = "delete"
    """How far the job had come is kept for its next row."""
    FORGET = "forget"
    """Delete it, with how far the job had come, or with what its config was before."""
    DISABLE = "disable"
    """Switched off and handed back to SQL."""
    SUSPEND = "suspend"
    """Switched off; it stays its owner's."""
    HAND_BACK = "hand_back"


class WriteResult(StrEnum):
    """What became of a change."""

    DONE = "done"
    STALE = "stale"
    """Someone else was there in between: read again and decide again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(Generic[R]):
    """One row to write; `seen` is the row that the decision was made for, absent for `CREATE`."""

    verb: Verb
    job_id: str
    row: R | None = None
    seen: Held[R] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedChange:
    """The database does not accept the row; `why` is its own text."""

    why: str
