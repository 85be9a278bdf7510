"""What a column holds, said at the field that stands for it.

People and resources write rows of `scheduled_job` and `job_config`. Each of their columns is a field of a
value in this package, and the field's metadata says the rest: what the column means and what it may hold. The
table and its constraints are made from the fields (`piko.store.schema.declared`), and so are the lists of
columns that gateways read and write, the comparison for drift, and the reference in the docs. A new option is
named once.

A field's default is what the column holds where an INSERT leaves it out. A field without one must be given.

A limit has a name, which follows the name of the column and says at a SQL prompt what is wrong:
`CONSTRAINT max_instances_is_positive failed`. NULL passes every limit of a column that may be NULL.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass
from typing import Any

MAX_INTEGER = 2**31 - 1
MAX_SECONDS = 10**10
"""More than any Go duration, and today plus or minus as much is still a date."""

_KEY = "column"


@dataclass(frozen=True, slots=True)
class Between:
    """A number, or a duration in seconds, from `low` to `high`, both included."""

    low: int
    high: int
    name: str


@dataclass(frozen=True, slots=True)
class AboveZero:
    """A duration in seconds that is longer than nothing."""

    name: str = "is_positive"


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of these words, in exactly this spelling."""

    words: tuple[str, ...]
    name: str


@dataclass(frozen=True, slots=True)
class Characters:
    """Text of at most `most` characters; `or_empty`: none at all is text, too."""

    most: int
    or_empty: bool = False


@dataclass(frozen=True, slots=True)
class Json:
    """Text that parses as JSON; `is_object`: as an object."""

    is_object: bool = False


Limit = Between | AboveZero | OneOf | Characters | Json

POSITIVE = Between(1, MAX_INTEGER, "is_positive")
NOT_NEGATIVE = Between(0, MAX_INTEGER, "is_not_negative")
NOT_NEGATIVE_SECONDS = Between(0, MAX_SECONDS, "is_not_negative")


@dataclass(frozen=True, slots=True)
class ColumnRule:
    """What a column means to a person, and which values its CHECK constraint refuses."""

    meaning: str
    limit: Limit | None = None


def column(meaning: str, limit: Limit | None = None) -> Mapping[str, ColumnRule]:
    """The metadata of a field that stands for a column."""
    return {_KEY: ColumnRule(meaning, limit)}


def rule_of(item: Field[Any]) -> ColumnRule:
    """What `column` said of the field. Raises `KeyError` for a field that stands for none."""
    rule: ColumnRule = item.metadata[_KEY]
    return rule
