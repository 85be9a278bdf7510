"""The spec of a PikoSchedule: how one job runs, and, by its `TriggerSpec`, when.

A field that becomes a column of `scheduled_job` says so by its `Column`; see `piko.model.schedules` for the
columns, and `piko_operator.mapping` for the row.
"""

from __future__ import annotations

import operator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from piko_operator.field_types import (
    CLASS_IS_IMMUTABLE,
    ClassName,
    Column,
    Duration,
    Instant,
    Jitter,
    JobId,
    PositiveDuration,
    SpecPart,
    Zone,
    cel,
    cel_duration,
    instant_column,
    part_rules,
    seconds_column,
    word_column,
)
from piko_operator.policies import AdoptionPolicy, DriftPolicy
from piko_operator.shapes import duration_seconds
from piko_operator.trigger_spec import TriggerSpec

_OVERLAP = {"Skip": "skip", "Queue": "queue", "QueueAll": "queue_all", "Replace": "replace", "Allow": "allow"}
_BACKFILL = {"CatchUp": "CATCH_UP", "Skip": "SKIP"}


class OverlapSpec(SpecPart):
    """What happens when an instant is due while earlier runs of the job still go on."""

    model_config = part_rules(
        cel("!has(self.groupLimit) || has(self.group)", "groupLimit needs group", at=".groupLimit")
    )

    policy: Annotated[
        Literal["Skip", "Queue", "QueueAll", "Replace", "Allow"],
        word_column("overlap_policy", _OVERLAP),
    ] = Field(
        "Skip",
        description="Skip drops the new run, Queue keeps one waiting (the newest), QueueAll keeps all, "
        "Replace cancels the running one, Allow lets them overlap.",
    )
    max_instances: Annotated[int, Column("max_instances")] = Field(
        1, ge=1, le=100000, description="Runs of the job at once."
    )
    group: Annotated[str | None, Column("concurrency_group")] = Field(
        None, min_length=1, max_length=128, description="Jobs of one group share a limit."
    )
    group_limit: Annotated[int | None, Column("concurrency_limit")] = Field(
        None,
        ge=1,
        le=100000,
        description="Runs at once in the group; the lowest limit of its schedules counts.",
    )

    @model_validator(mode="after")
    def _limit_has_its_group(self) -> OverlapSpec:
        if self.group_limit is not None and self.group is None:
            raise ValueError("groupLimit needs group")
        return self


class RetrySpec(SpecPart):
    """What happens after a failed attempt."""

    model_config = part_rules(
        cel(
            "!has(self.backoff) || !has(self.maxBackoff) "
            f"|| {cel_duration('self.backoff')} <= {cel_duration('self.maxBackoff')}",
            "backoff must not be longer than maxBackoff",
            at=".backoff",
        )
    )

    max_attempts: Annotated[int | None, Column("max_attempts")] = Field(
        None, ge=1, le=1000, description="Attempts in all; without it the job's own holds."
    )
    backoff: Annotated[Duration, seconds_column("retry_backoff_s")] = Field(
        "10s", description="The first pause; it doubles from attempt to attempt."
    )
    max_backoff: Annotated[Duration, seconds_column("retry_max_backoff_s")] = Field(
        "5m", description="The longest pause."
    )

    @model_validator(mode="after")
    def _backoff_is_at_most_its_maximum(self) -> RetrySpec:
        if duration_seconds(self.backoff) > duration_seconds(self.max_backoff):
            raise ValueError("backoff must not be longer than maxBackoff")
        return self


class BackfillSpec(SpecPart):
    """What a stateful job does about windows it has missed."""

    policy: Annotated[Literal["CatchUp", "Skip"] | None, word_column("backfill_policy", _BACKFILL)] = Field(
        None, description="CatchUp runs all, Skip the latest only; without it the job's own holds."
    )
    max_lookback: Annotated[PositiveDuration | None, seconds_column("max_lookback_s")] = Field(
        None,
        description="Without it no window is too old. With it, those that ended longer ago are given up, "
        "recorded as MISSED, and reported in the condition DataGivenUp with the command that runs them.",
    )
    max_windows: Annotated[int | None, Column("backfill_max_windows")] = Field(
        None,
        ge=1,
        le=100000,
        description="Without it no backlog is too large. With it, all but the newest so many windows that "
        "are missing are given up, as with maxLookback.",
    )


class HistorySpec(SpecPart):
    """How many runs are kept."""

    successful: Annotated[int, Column("history_successful")] = Field(100, ge=0, le=1000000)
    failed: Annotated[int, Column("history_failed")] = Field(100, ge=0, le=1000000)


class ObjectiveSpec(SpecPart):
    """How fresh the job keeps its data: durations after a due time, as in 30m."""

    data_within: Annotated[PositiveDuration | None, seconds_column("data_within_s")] = Field(
        None,
        description="A run succeeds within this time after its due time; without it the job's own holds.",
    )
    start_within: Annotated[PositiveDuration | None, seconds_column("start_within_s")] = Field(
        None, description="A run starts within this time; without it the job's own holds."
    )
    finish_within: Annotated[PositiveDuration | None, seconds_column("finish_within_s")] = Field(
        None,
        description="A run ends within this time, however it does; without it the job's own holds.",
    )


class ScheduleSpec(SpecPart):
    """The schedule that is wanted."""

    model_config = part_rules(
        cel(
            "!has(self.startAt) || !has(self.endAt) || self.startAt < self.endAt",
            "startAt must be before endAt",
            at=".endAt",
        ),
        CLASS_IS_IMMUTABLE,
    )

    job_id: Annotated[JobId, Column("job_id")] = Field(
        description="The job, as the code registers it. It cannot be changed."
    )
    class_name: ClassName | None = Field(
        None,
        description="Which operator serves the resource, where there are several: the one of this class; "
        "without it, the one without a class. It cannot be changed.",
    )
    schedule: TriggerSpec = Field(description="When the job is due. Exactly one of cron, interval and date.")
    time_zone: Annotated[Zone | None, Column("timezone")] = Field(
        None,
        description="IANA zone of the schedule; without it the runtime's setting `timezone` holds.",
    )
    suspend: Annotated[bool, Column("enabled", operator.not_, operator.not_)] = Field(
        False, description="True stops the schedule; resuming runs nothing retroactively."
    )
    start_at: Annotated[Instant | None, instant_column("start_at")] = Field(
        None, description="Nothing is due before this instant."
    )
    end_at: Annotated[Instant | None, instant_column("end_at")] = Field(
        None, description="Nothing is due from this instant on."
    )
    jitter: Annotated[Jitter, seconds_column("jitter_s")] = Field(
        "0s", description="Spread of the start, at most 24h; the scheduled time stays."
    )
    misfire_grace: Annotated[Duration, seconds_column("misfire_grace_s")] = Field(
        "5m", description="An instant older than this is not run but recorded as MISSED."
    )
    coalesce: Annotated[bool, Column("coalesce")] = Field(
        True, description="Of several instants due at once, run only the latest."
    )
    overlap: OverlapSpec = Field(
        OverlapSpec(),
        description="What happens when an instant is due while earlier runs of the job still go on.",
    )
    priority: Annotated[int, Column("priority")] = Field(
        0, ge=-1000000, le=1000000, description="Of what is due together, the higher starts first."
    )
    timeout: Annotated[PositiveDuration | None, seconds_column("timeout_s")] = Field(
        None, description="A run that takes longer is cancelled; without it the job's own holds."
    )
    retry: RetrySpec = Field(RetrySpec(), description="What happens after a failed attempt.")
    backfill: BackfillSpec = Field(
        BackfillSpec(), description="What a stateful job does about windows it has missed."
    )
    history: HistorySpec = Field(HistorySpec(), description="How many runs are kept.")
    objective: ObjectiveSpec = Field(
        ObjectiveSpec(),
        description="How fresh the job keeps its data. The condition Fresh says whether it does.",
    )
    adoption_policy: AdoptionPolicy = "Refuse"
    drift_policy: DriftPolicy = "Enforce"
    deletion_policy: Literal["Delete", "Forget", "Disable", "Retain"] = Field(
        "Delete",
        description="When the resource is deleted, the row is: Delete, deleted, and how far the job had come "
        "is kept for its next row; Forget, deleted with that; Disable, kept but switched off; Retain, handed "
        "back to SQL as it is.",
    )

    @model_validator(mode="after")
    def _starts_before_it_ends(self) -> ScheduleSpec:
        if self.start_at is not None and self.end_at is not None and self.start_at >= self.end_at:
            raise ValueError("startAt must be before endAt")
        return self
