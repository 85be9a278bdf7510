"""The part of a PikoSchedule that says when its job is due: cron, an interval or a date."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel

from piko_operator import shapes
from piko_operator.field_types import LocalInstant, PositiveDuration, SpecPart, cel, part_rules

_CRON_FIELD_LENGTH = 128


def _check_cron(value: str) -> str:
    if not shapes.CRON.fullmatch(value):
        raise ValueError(shapes.CRON_EXPECTED)
    return value


def _no_zone(value: str) -> str:
    if shapes.CRON_ZONE.match(value):
        raise ValueError(shapes.CRON_ZONE_EXPECTED)
    return value


CronText = Annotated[str, Field(max_length=256), AfterValidator(_check_cron), BeforeValidator(_no_zone)]


def _cron_field(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | str) or len(str(value)) > _CRON_FIELD_LENGTH:
        raise ValueError("expected a number, or a text such as *, */5, 1-5 or mon,wed")
    return value


CronField = Annotated[
    int | str,
    BeforeValidator(_cron_field),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "description": "A number, *, */n, a-b, a-b/n, a list of them; names where they exist.",
            "maxLength": _CRON_FIELD_LENGTH,
        }
    ),
]


class CronFields(SpecPart):
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


def _cron(value: object) -> object:
    if isinstance(value, str | dict | CronFields):
        return value
    raise ValueError(f"{shapes.CRON_EXPECTED}, or an object of cron fields")


def _cron_form(value: object) -> str:
    return "text" if isinstance(value, str) else "fields"


def _cron_schema() -> dict[str, Any]:
    """The same for the API server.

    Without a type CEL cannot look inside. The two impossible ranges and the `not` refuse numbers, lists and
    booleans, the pattern speaks of strings, the rest of objects.
    """
    return {
        "x-kubernetes-preserve-unknown-fields": True,
        "minimum": 1,
        "maximum": 0,
        "minItems": 1,
        "maxItems": 0,
        "not": {"enum": [True, False]},
        "maxLength": 256,
        "pattern": f"^{shapes.CRON.pattern}$",
        "anyOf": [{"required": [to_camel(name)]} for name in CronFields.model_fields],
        "properties": CronFields.model_json_schema(by_alias=True)["properties"],
    }


# A plain union would report the errors of both branches; the discriminator chooses the intended one.
Cron = Annotated[
    Annotated[CronText, Tag("text")] | Annotated[CronFields, Tag("fields")],
    Discriminator(_cron_form),
    BeforeValidator(_cron),
    WithJsonSchema(_cron_schema()),
]


class IntervalSpec(SpecPart):
    """A grid of instants: `every`, or the sum of the units."""

    model_config = part_rules(
        cel(
            "has(self.every) != (has(self.weeks) || has(self.days) || has(self.hours) || "
            "has(self.minutes) || has(self.seconds))",
            "expected either every, or any of weeks, days, hours, minutes, seconds",
        ),
        cel(
            "has(self.every) || [has(self.weeks) ? self.weeks : 0, has(self.days) ? self.days : 0, "
            "has(self.hours) ? self.hours : 0, has(self.minutes) ? self.minutes : 0, "
            "has(self.seconds) ? self.seconds : 0].exists(n, n > 0)",
            "expected an interval longer than 0",
        ),
    )

    every: PositiveDuration | None = Field(
        None, description="A duration such as 10s, 1h30m or 1d12h; a day has 24 hours."
    )
    weeks: Annotated[int, Field(ge=0, le=5000)] | None = None
    days: Annotated[int, Field(ge=0, le=36500)] | None = None
    hours: Annotated[int, Field(ge=0, le=876000)] | None = None
    minutes: Annotated[int, Field(ge=0, le=52560000)] | None = None
    seconds: Annotated[int, Field(ge=0, le=2147483647)] | None = None
    start_date: LocalInstant | None = Field(
        None, description="The grid starts here, in the schedule's zone unless an offset is given."
    )
    end_date: LocalInstant | None = Field(
        None, description="The grid ends here, in the schedule's zone unless an offset is given."
    )

    @model_validator(mode="after")
    def _one_way_of_saying_it(self) -> IntervalSpec:
        units = [n for n in (self.weeks, self.days, self.hours, self.minutes, self.seconds) if n is not None]
        if (self.every is not None) == bool(units):
            raise ValueError("expected either every, or any of weeks, days, hours, minutes, seconds")
        if units and not any(units):
            raise ValueError("expected an interval longer than 0")
        return self


class DateSpec(SpecPart):
    """One instant."""

    run_date: LocalInstant = Field(
        description="The instant, in the schedule's zone unless an offset is given."
    )


class TriggerSpec(SpecPart):
    """Exactly one kind of schedule."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    cron: Cron | None = Field(
        None,
        description="Five fields, six with seconds first, or a name such as @hourly; H is spread by job. The "
        "zone goes into timeZone, not into the text. Or an object with any of year, month, day, week, "
        "dayOfWeek, hour, minute and second, of which all must match; there Monday is 0, a field that is "
        "left out is * if it is coarser than the finest one given, else its minimum.",
    )
    interval: IntervalSpec | None = Field(
        None,
        description="A grid of instants, anchored at startDate, else at 1970-01-01 UTC. Either every, or any "
        "of weeks, days, hours, minutes and seconds, which are summed.",
    )
    date: DateSpec | None = Field(None, description="Once.")

    @model_validator(mode="after")
    def _exactly_one(self) -> TriggerSpec:
        given = [name for name in ("cron", "interval", "date") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"expected exactly one of cron, interval, date; found {', '.join(given) or 'none'}"
            )
        return self
