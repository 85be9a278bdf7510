"""Types of the fields of a spec: each with its check in Python and the same rule for the API server.

The API server checks a resource at `apply` by bounds, patterns and rules in CEL. Files that are read without
a cluster meet the same rules here, with the same words. Both stand together, so that `crds/` can be
generated: a `Rule` is the check of Python and of the server, a `Column` what the field is in the database.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, core_schema

from piko.text import instant_text
from piko_operator import shapes

VALIDATIONS = "x-kubernetes-validations"


@dataclass(frozen=True, slots=True)
class Rule:
    """`check` raises `ValueError(message)` for what `cel`, where there is one, refuses at the API server."""

    check: Callable[[str], str]
    cel: str
    message: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return handler(schema) | {VALIDATIONS: [cel(self.cel, self.message)]}


@dataclass(frozen=True, slots=True)
class Immutable:
    """The API server refuses an update that changes the field."""

    message: str

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        found = handler(schema)
        return found | {VALIDATIONS: [*found.get(VALIDATIONS, ()), cel("self == oldSelf", self.message)]}


@dataclass(frozen=True, slots=True)
class Column:
    """The field becomes the column `name`.

    - `to`: makes the column's value of one that is not None.
    - `back`: makes what a document says of the column's value, if that is not None.
    """

    name: str
    to: Callable[[Any], Any] = lambda value: value
    back: Callable[[Any], Any] = lambda value: value


def word_column(name: str, words: Mapping[str, str]) -> Column:
    """The column of a field that is one of `words`, each with what the column holds for it."""
    back = {held: word for word, held in words.items()}
    return Column(name, words.__getitem__, back.__getitem__)


def seconds_column(name: str) -> Column:
    """The column of a field that is a duration; it holds seconds."""
    return Column(name, shapes.duration_seconds, shapes.duration_text)


def instant_column(name: str) -> Column:
    """The column of a field that is an instant."""
    return Column(name, back=instant_text)


class SpecPart(BaseModel):
    """A part of a spec: camelCase in files, nothing unknown, nothing converted silently."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, strict=True
    )


def cel(rule: str, message: str, *, at: str | None = None) -> dict[str, str]:
    """One entry of `x-kubernetes-validations`; `at` is the field that the server names, such as `.endAt`."""
    return {"rule": rule, "message": message, **({} if at is None else {"fieldPath": at})}


def cel_duration(text: str) -> str:
    """The duration that the text `text` of CEL says.

    CEL itself knows no days, so they are the distance between two timestamps. Each part is a substring, whose
    length the API server bounds when it estimates the cost of a rule.
    """
    at = f"{text}.indexOf('d')"
    days = f"timestamp(int({text}.substring(0, {at})) * 86400) - timestamp(0)"
    rest = f"duration('0s' + {text}.substring({at} + 1))"
    return f"({text}.contains('d') ? {days} + {rest} : duration({text}))"


CLASS_IS_IMMUTABLE = cel(
    "has(self.className) == has(oldSelf.className) "
    "&& (!has(self.className) || self.className == oldSelf.className)",
    "className is immutable: delete this resource and create another",
)
"""A rule of a spec: a resource never moves from one operator to another, so no row has two servers."""


def part_rules(*rules: dict[str, str]) -> ConfigDict:
    """The model configuration of a part whose fields depend on each other."""
    return ConfigDict(json_schema_extra={VALIDATIONS: [{**rule} for rule in rules]})


def _matches(pattern: re.Pattern[str]) -> str:
    return f"self.matches('^{pattern.pattern}$')"


def _shape(pattern: re.Pattern[str], expected: str) -> Rule:
    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError(expected)
        return value

    return Rule(check, _matches(pattern), expected)


def _duration(expected: str, bound: str, *, above_zero: bool = False, at_most: float | None = None) -> Rule:
    """`bound` is the rest of the rule in CEL, such as `> duration('0s')`."""

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

    return Rule(check, f"{_matches(shapes.DURATION)} && {cel_duration('self')} {bound}", expected)


def _to_instant(value: object) -> datetime:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value
    if not isinstance(value, str):
        raise ValueError(shapes.INSTANT_EXPECTED)  # noqa: TRY004 pydantic collects ValueErrors only
    return shapes.parse_instant(value)


JobId = Annotated[
    str,
    Field(min_length=1, max_length=128),
    _shape(shapes.JOB_ID, shapes.JOB_ID_EXPECTED),
    Immutable("jobId is immutable: delete this resource and create another"),
]
ClassName = Annotated[
    str, Field(min_length=1, max_length=63), _shape(shapes.LABEL_NAME, shapes.LABEL_NAME_EXPECTED)
]
"""The class of a resource; it cannot be changed, see `CLASS_IS_IMMUTABLE`."""
ObjectName = Annotated[
    str, Field(min_length=1, max_length=253), _shape(shapes.OBJECT_NAME, shapes.OBJECT_NAME_EXPECTED)
]
Namespace = Annotated[
    str, Field(min_length=1, max_length=63), _shape(shapes.LABEL_NAME, shapes.LABEL_NAME_EXPECTED)
]
DataKey = Annotated[
    str, Field(min_length=1, max_length=253), _shape(shapes.DATA_KEY, shapes.DATA_KEY_EXPECTED)
]
ConfigPath = Annotated[
    str, Field(min_length=1, max_length=253), _shape(shapes.CONFIG_PATH, shapes.CONFIG_PATH_EXPECTED)
]
"""Where in a config a value goes, such as `db.password`."""
Zone = Annotated[str, Field(min_length=1, max_length=64), _shape(shapes.ZONE, shapes.ZONE_EXPECTED)]
Duration = Annotated[str, Field(max_length=32), _duration(shapes.DURATION_EXPECTED, ">= duration('0s')")]
"""A text such as `1h30m` or `1d`; the column that it becomes holds seconds."""
PositiveDuration = Annotated[
    str,
    Field(max_length=32),
    _duration(shapes.POSITIVE_DURATION_EXPECTED, "> duration('0s')", above_zero=True),
]
Jitter = Annotated[
    str, Field(max_length=32), _duration(shapes.JITTER_EXPECTED, "<= duration('24h')", at_most=86400)
]
Instant = Annotated[datetime, BeforeValidator(_to_instant), Field(json_schema_extra={"format": "date-time"})]
LocalInstant = Annotated[
    str,
    Field(max_length=40),
    Rule(shapes.check_local_instant, _matches(shapes.LOCAL_INSTANT), shapes.LOCAL_INSTANT_EXPECTED),
]
"""An instant that is in the zone of its schedule unless it carries an offset."""
