"""Schedules: what a team says of one, and its row as the runtime reads it.

`ScheduleOptions` is the one list of what can be said. Its fields are columns of `scheduled_job`, by name, in
the table's order; durations are seconds, instants aware. `piko.model.columns` says what is made of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime

from piko.core.types import BackfillPolicy, OverlapPolicy
from piko.model.columns import (
    MAX_INTEGER,
    NOT_NEGATIVE,
    NOT_NEGATIVE_SECONDS,
    POSITIVE,
    AboveZero,
    Between,
    Characters,
    Json,
    OneOf,
    column,
)
from piko.model.digests import Digest

_TYPES = OneOf(("cron", "interval", "date"), "is_cron_interval_or_date")
_A_DAY = Between(0, 86_400, "is_0_to_86400")
_OF_RUNTIME = {"version", "last_data_time", "completed_at", "created_at", "updated_at"}
_WHOLE = Between(-MAX_INTEGER, MAX_INTEGER, "is_a_whole_number")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleOptions:
    """When a job runs and how: what people write into its row, or a PikoSchedule says."""

    job_id: str = field(metadata=column("the job, as the code registers it"))
    schedule_type: str = field(metadata=column("cron, interval or date", _TYPES))
    schedule_expr: str = field(metadata=column("JSON; its form depends on schedule_type", Json()))
    timezone: str | None = field(
        default=None, metadata=column("IANA name; NULL: the setting `timezone`", Characters(64))
    )
    enabled: bool = field(default=True, metadata=column("0: the schedule is paused"))
    start_at: datetime | None = field(default=None, metadata=column("no due time before this instant"))
    end_at: datetime | None = field(default=None, metadata=column("no due time after this instant"))
    jitter_s: float = field(
        default=0.0, metadata=column("delays the start by up to this; the same on every replica", _A_DAY)
    )
    misfire_grace_s: float = field(
        default=300.0,
        metadata=column("a due time that is later than this is recorded as MISSED", NOT_NEGATIVE_SECONDS),
    )
    coalesce: bool = field(
        default=True, metadata=column("1: of several due times that are due at once, only the latest runs")
    )
    overlap_policy: str = field(
        default=OverlapPolicy.SKIP.value,
        metadata=column(
            "while max_instances are running: skip, queue, queue_all, replace or allow",
            OneOf(tuple(OverlapPolicy), "is_known"),
        ),
    )
    max_instances: int = field(default=1, metadata=column("runs of the job at once", POSITIVE))
    concurrency_group: str | None = field(
        default=None, metadata=column("jobs that share a limit", Characters(128))
    )
    concurrency_limit: int | None = field(
        default=None,
        metadata=column("runs at once in the group; the lowest limit of its rows counts", POSITIVE),
    )
    priority: int = field(default=0, metadata=column("higher starts first", _WHOLE))
    timeout_s: float | None = field(
        default=None, metadata=column("NULL: the job's own, else none", AboveZero())
    )
    max_attempts: int | None = field(default=None, metadata=column("NULL: the job's own, else 1", POSITIVE))
    retry_backoff_s: float = field(
        default=10.0,
        metadata=column(
            "pause before the second attempt; it doubles from attempt to attempt", NOT_NEGATIVE_SECONDS
        ),
    )
    retry_max_backoff_s: float = field(
        default=300.0, metadata=column("the longest pause", NOT_NEGATIVE_SECONDS)
    )
    backfill_policy: str | None = field(
        default=None, metadata=column("NULL: the job's own", OneOf(tuple(BackfillPolicy), "is_known"))
    )
    max_lookback_s: float | None = field(
        default=None,
        metadata=column("NULL: no bound; else older windows are dropped and recorded as MISSED", AboveZero()),
    )
    backfill_max_windows: int | None = field(
        default=None,
        metadata=column("NULL: no bound; else further windows are dropped and recorded as MISSED", POSITIVE),
    )
    history_successful: int = field(
        default=100, metadata=column("how many runs that succeeded are kept", NOT_NEGATIVE)
    )
    history_failed: int = field(default=100, metadata=column("how many other runs are kept", NOT_NEGATIVE))
    data_within_s: float | None = field(
        default=None,
        metadata=column(
            "objective: a run succeeds within this time after its due time; NULL: the job's own", AboveZero()
        ),
    )
    start_within_s: float | None = field(
        default=None, metadata=column("objective: a run starts within this time; as above", AboveZero())
    )
    finish_within_s: float | None = field(
        default=None, metadata=column("objective: a run ends within this time; as above", AboveZero())
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRow(ScheduleOptions):
    """A row of `scheduled_job`, without its owner.

    `version` is the writer's count of edits. `last_data_time` is the watermark of a stateful job: up to there
    its data is done. `completed_at` is when a `date` schedule fired. A paused schedule is resumed at
    `paused_until`.
    """

    version: int
    last_data_time: datetime | None
    completed_at: datetime | None
    paused_until: datetime | None = None
    created_at: datetime
    updated_at: datetime

    @property
    def digest(self) -> Digest:
        """Differs between any two edits of the row."""
        return self.version, self.updated_at

    def is_edit_of(self, before: ScheduleRow) -> bool:
        """Whether somebody but the runtime may have made `before` into this."""
        moved = (self.last_data_time, self.completed_at) != (before.last_data_time, before.completed_at)
        if not moved:  # what else was written may be a column that this does not have
            return self.digest != before.digest
        names = (item.name for item in fields(self) if item.name not in _OF_RUNTIME)
        return any(getattr(self, name) != getattr(before, name) for name in names)

    def is_less_done_than(self, before: ScheduleRow) -> bool:
        """Whether the watermark lies before that of `before`, or one of the two has none."""
        mine, earlier = self.last_data_time, before.last_data_time
        return mine != earlier and (mine is None or earlier is None or mine < earlier)
