"""The custom resources as typed models.

`crds/` is what the API server checks, these models are the same rules for everyone else: the operator, and
whoever reads resource files without a cluster. A test compares the two. Importing this module needs pydantic
alone, beside Piko.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    Tag,
    model_validator,
)
from pydantic.alias_generators import to_camel

from piko.json_object import BYTES, check_json
from piko_operator import shapes

GROUP = "piko.dev"
VERSION = "v1"
API_VERSION = f"{GROUP}/{VERSION}"
FINALIZER = "piko.dev/finalizer"


def _shape(pattern: Any, expected: str) -> AfterValidator:
    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError(expected)
        return value

    return AfterValidator(check)


def _duration(expected: str, *, above_zero: bool = False, at_most: float | None = None) -> AfterValidator:
    def check(value: str) -> str:
        try:
            seconds = shapes.duration_seconds(value)
        except ValueError:
            raise ValueError(expected) from None
        if seconds > shapes.LONGEST_S and at_most is None:
            raise ValueError(shapes.LONGEST_EXPECTED)
        if (above_zero and seconds <= 0) or (at_most is not None and seconds > at_most):
            raise ValueError(expected)
        return value

    return AfterValidator(check)


def _to_instant(value: object) -> datetime:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value
    if not isinstance(value, str):
        raise ValueError(shapes.INSTANT_EXPECTED)  # noqa: TRY004 pydantic collects ValueErrors only
    return shapes.parse_instant(value)


JobId = Annotated[str, Field(min_length=1, max_length=128), _shape(shapes.JOB_ID, shapes.JOB_ID_EXPECTED)]
ObjectName = Annotated[
    str, Field(min_length=1, max_length=253), _shape(shapes.OBJECT_NAME, shapes.OBJECT_NAME_EXPECTED)
]
Namespace = Annotated[
    str, Field(min_length=1, max_length=63), _shape(shapes.LABEL_NAME, shapes.LABEL_NAME_EXPECTED)
]
DataKey = Annotated[
    str, Field(min_length=1, max_length=253), _shape(shapes.DATA_KEY, shapes.DATA_KEY_EXPECTED)
]
Zone = Annotated[str, Field(min_length=1, max_length=64), _shape(shapes.ZONE, shapes.ZONE_EXPECTED)]
Duration = Annotated[str, Field(max_length=32), _duration(shapes.DURATION_EXPECTED)]
PositiveDuration = Annotated[
    str, Field(max_length=32), _duration(shapes.POSITIVE_DURATION_EXPECTED, above_zero=True)
]
Jitter = Annotated[str, Field(max_length=32), _duration(shapes.JITTER_EXPECTED, at_most=86400)]
Instant = Annotated[datetime, BeforeValidator(_to_instant), Field(json_schema_extra={"format": "date-time"})]
LocalInstant = Annotated[str, Field(max_length=40), AfterValidator(shapes.check_local_instant)]


def _no_zone(value: str) -> str:
    if shapes.CRON_ZONE.match(value):
        raise ValueError(shapes.CRON_ZONE_EXPECTED)
    return value


CronText = Annotated[
    str,
    Field(max_length=256),
    _shape(shapes.CRON, shapes.CRON_EXPECTED),
    BeforeValidator(_no_zone),
]


def _cron_field(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | str) or len(str(value)) > 128:
        raise ValueError("expected a number, or a text such as *, */5, 1-5 or mon,wed")
    return value


CronField = Annotated[int | str, BeforeValidator(_cron_field)]


class _Part(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, strict=True
    )


class CronFields(_Part):
    """Cron as fields, of which all must match; `dayOfWeek` 0 is Monday."""

    year: CronField | None = None
    month: CronField | None = None
    day: CronField | None = None
    week: CronField | None = None
    day_of_week: CronField | None = None
    hour: CronField | None = None
    minute: CronField | None = None
    second: CronField | None = None

    @model_validator(mode="after")
    def _not_empty(self) -> CronFields:
        if not self.model_dump(exclude_none=True):
            raise ValueError(
                "expected one or more of year, month, day, week, dayOfWeek, hour, minute, second"
            )
        return self


class IntervalSpec(_Part):
    """A grid of instants: `every`, or the sum of the units."""

    every: PositiveDuration | None = None
    weeks: Annotated[int, Field(ge=0, le=5000)] | None = None
    days: Annotated[int, Field(ge=0, le=36500)] | None = None
    hours: Annotated[int, Field(ge=0, le=876000)] | None = None
    minutes: Annotated[int, Field(ge=0, le=52560000)] | None = None
    seconds: Annotated[int, Field(ge=0, le=2147483647)] | None = None
    start_date: LocalInstant | None = None
    end_date: LocalInstant | None = None

    @model_validator(mode="after")
    def _one_way_of_saying_it(self) -> IntervalSpec:
        units = [n for n in (self.weeks, self.days, self.hours, self.minutes, self.seconds) if n is not None]
        if (self.every is not None) == bool(units):
            raise ValueError("expected either every, or any of weeks, days, hours, minutes, seconds")
        if units and not any(units):
            raise ValueError("expected an interval longer than 0")
        return self


class DateSpec(_Part):
    """One instant."""

    run_date: LocalInstant


def _cron(value: object) -> object:
    if isinstance(value, str | dict | CronFields):
        return value
    raise ValueError(f"{shapes.CRON_EXPECTED}, or an object of cron fields")


def _cron_form(value: object) -> str:
    return "text" if isinstance(value, str) else "fields"


# A plain union would answer with the errors of both branches; the discriminator asks the one that was meant.
Cron = Annotated[
    Annotated[CronText, Tag("text")] | Annotated[CronFields, Tag("fields")],
    Discriminator(_cron_form),
    BeforeValidator(_cron),
]


class TriggerSpec(_Part):
    """Exactly one kind of schedule."""

    cron: Cron | None = None
    interval: IntervalSpec | None = None
    date: DateSpec | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> TriggerSpec:
        given = [name for name in ("cron", "interval", "date") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"expected exactly one of cron, interval, date; found {', '.join(given) or 'none'}"
            )
        return self


class OverlapSpec(_Part):
    policy: Literal["Skip", "Queue", "QueueAll", "Replace", "Allow"] = "Skip"
    max_instances: int = Field(1, ge=1, le=100000)
    group: str | None = Field(None, min_length=1, max_length=128)
    group_limit: int | None = Field(None, ge=1, le=100000)

    @model_validator(mode="after")
    def _limit_has_its_group(self) -> OverlapSpec:
        if self.group_limit is not None and self.group is None:
            raise ValueError("groupLimit needs group")
        return self


class RetrySpec(_Part):
    max_attempts: int | None = Field(None, ge=1, le=1000)
    backoff: Duration = "10s"
    max_backoff: Duration = "5m"


class BackfillSpec(_Part):
    policy: Literal["CatchUp", "Skip"] | None = None
    max_lookback: PositiveDuration | None = None
    max_windows: int | None = Field(None, ge=1, le=100000)


class HistorySpec(_Part):
    successful: int = Field(100, ge=0, le=1000000)
    failed: int = Field(100, ge=0, le=1000000)


class ScheduleSpec(_Part):
    job_id: JobId
    schedule: TriggerSpec
    time_zone: Zone | None = None
    suspend: bool = False
    start_at: Instant | None = None
    end_at: Instant | None = None
    jitter: Jitter = "0s"
    misfire_grace: Duration = "5m"
    coalesce: bool = True
    overlap: OverlapSpec = OverlapSpec()
    priority: int = Field(0, ge=-1000000, le=1000000)
    timeout: PositiveDuration | None = None
    retry: RetrySpec = RetrySpec()
    backfill: BackfillSpec = BackfillSpec()
    history: HistorySpec = HistorySpec()
    adoption_policy: Literal["Refuse", "Adopt"] = "Refuse"
    drift_policy: Literal["Enforce", "Observe"] = "Enforce"
    deletion_policy: Literal["Delete", "Forget", "Disable", "Retain"] = "Delete"

    @model_validator(mode="after")
    def _starts_before_it_ends(self) -> ScheduleSpec:
        if self.start_at is not None and self.end_at is not None and self.start_at >= self.end_at:
            raise ValueError("startAt must be before endAt")
        return self


class SecretKeyRef(_Part):
    name: ObjectName
    key: DataKey


class ConfigSource(_Part):
    secret_key_ref: SecretKeyRef


def _config(value: object) -> object:
    if isinstance(value, dict):
        check_json(value)
        if (size := len(json.dumps(value, ensure_ascii=False).encode())) > BYTES:
            raise ValueError(f"has {size} bytes; expected at most {BYTES}")
    return value


Config = Annotated[dict[str, JsonValue], BeforeValidator(_config)]


class JobConfigSpec(_Part):
    job_id: JobId
    schema_version: int = Field(1, ge=1, le=2147483647)
    effective_from: Instant | None = None
    config: Config = {}
    config_from: list[ConfigSource] = Field([], max_length=16)
    adoption_policy: Literal["Refuse", "Adopt"] = "Refuse"
    drift_policy: Literal["Enforce", "Observe"] = "Enforce"
    deletion_policy: Literal["Delete", "Forget", "Retain"] = "Delete"


class Metadata(BaseModel):
    """What the operator reads of an object's metadata; everything else passes."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)

    name: ObjectName
    namespace: Namespace = "default"
    uid: str = ""
    generation: int = 0


class PikoSchedule(BaseModel):
    """When one job runs."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    api_version: Literal["piko.dev/v1"] = Field(alias="apiVersion")
    kind: Literal["PikoSchedule"]
    metadata: Metadata
    spec: ScheduleSpec
    status: dict[str, JsonValue] = {}


class PikoJobConfig(BaseModel):
    """What one job is configured with."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    api_version: Literal["piko.dev/v1"] = Field(alias="apiVersion")
    kind: Literal["PikoJobConfig"]
    metadata: Metadata
    spec: JobConfigSpec
    status: dict[str, JsonValue] = {}


Manifest = PikoSchedule | PikoJobConfig
MODELS: dict[str, type[PikoSchedule] | type[PikoJobConfig]] = {
    "PikoSchedule": PikoSchedule,
    "PikoJobConfig": PikoJobConfig,
}
