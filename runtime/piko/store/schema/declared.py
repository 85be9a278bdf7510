"""Columns and constraints from the fields of a value, see `piko.model.columns`.

| the field | the column |
|---|---|
| `bool` | BOOLEAN, 0 or 1 |
| `int` | INTEGER |
| `float` | DOUBLE, for seconds |
| `datetime` | DATETIME(6) in UTC, an instant that every driver can read |
| `str` that is JSON | MEDIUMTEXT that parses |
| `str` that is a word, or has a bound | VARCHAR |
| default None | nullable |
| another default | NOT NULL DEFAULT |
| no default | NOT NULL |

`job_id`, the key, is left out: each table declares it by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from datetime import datetime
from types import UnionType
from typing import Any, get_args, get_type_hints

from sqlalchemy import Boolean, CheckConstraint, Column, Double, Integer, String, TextClause, text
from sqlalchemy.types import TypeEngine

from piko.model.columns import AboveZero, Between, Characters, Json, OneOf, rule_of
from piko.store.schema import checks
from piko.store.schema.column_types import INSTANT, JSON_TEXT

_LONGEST_WORD = 16


def declared_columns(value: type[Any]) -> Iterator[Column[Any]]:
    """A column for each field of `value`. Raises `TypeError` for a field that no column can hold."""
    for item, kind in _columns(value):
        default = _default(item)
        yield Column(
            item.name,
            _type(item, kind),
            nullable=item.default is None,
            server_default=default,
            comment=rule_of(item).meaning,
        )


def declared_checks(value: type[Any]) -> Iterator[CheckConstraint]:
    """What the columns of `value` refuse, each under the name of its column and its limit."""
    for item, kind in _columns(value):
        if kind is bool:
            yield checks.boolean(item.name)
        elif kind is datetime:
            yield from checks.instants(item.name)
        yield from _limits(item)


def declared_instants(value: type[Any]) -> tuple[str, ...]:
    """The columns of `value` that hold an instant."""
    return tuple(item.name for item, kind in _columns(value) if kind is datetime)


def _columns(value: type[Any]) -> Iterator[tuple[Field[Any], type[Any]]]:
    kinds = get_type_hints(value)
    for item in fields(value):
        if item.name != "job_id":
            yield item, _bare(kinds[item.name])


def _bare(kind: Any) -> type[Any]:
    """`str` for `str | None`."""
    found: type[Any] = get_args(kind)[0] if isinstance(kind, UnionType) else kind
    return found


def _type(item: Field[Any], kind: type[Any]) -> TypeEngine[Any]:
    match kind, rule_of(item).limit:
        case t, _ if t is bool:
            return Boolean()
        case t, _ if t is int:
            return Integer()
        case t, _ if t is float:
            return Double()
        case t, _ if t is datetime:
            return INSTANT
        case t, Json() if t is str:
            return JSON_TEXT
        case t, OneOf() if t is str:
            return String(_LONGEST_WORD)
        case t, Characters(most=most) if t is str:
            return String(most)
    raise TypeError(
        f"{item.name}: no column holds {kind!r} with the limit {rule_of(item).limit!r}; expected bool, int, "
        "float, datetime, or str with Json, OneOf or Characters"
    )


def _default(item: Field[Any]) -> TextClause | str | None:
    match item.default:
        case None:
            return None
        case str(word):
            return word
        case bool(flag):
            return text(str(int(flag)))
        case int(number) | float(number):
            return text(f"{number:g}")
        case value if value is MISSING:
            return None
    raise TypeError(f"{item.name}: {item.default!r} cannot be a column's default")


def _limits(item: Field[Any]) -> Iterator[CheckConstraint]:
    column = item.name
    match rule_of(item).limit:
        case Between(low=low, high=high, name=name):
            yield checks.between(column, low, high, f"{column}_{name}")
        case AboveZero(name=name):
            yield checks.positive_seconds(column, f"{column}_{name}")
        case OneOf(words=words, name=name):
            yield checks.one_of(column, words, f"{column}_{name}")
        case Characters(or_empty=False):
            yield checks.not_empty(column)
        case Json(is_object=is_object):
            yield checks.json(column)
            if is_object:
                yield checks.json_object(column)
