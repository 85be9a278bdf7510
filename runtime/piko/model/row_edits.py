"""What `change_log` says of an edited row: the columns that differ, before and after. Pure.

A config is said path by path. A value that its model declares secret or whose name sounds so is never shown,
nor is any of a config whose model nobody has published; of `secret_json` it is only said that it differs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from piko.model.config_schema import HIDDEN, hidden, sounds_secret
from piko.model.configs import ConfigContent
from piko.model.schedules import ScheduleOptions

Content = Mapping[str, object]
"""A row by column, as JSON holds it; of `secret_json` a hash."""

_CONFIG, _SECRET = "config_json", "secret_json"
_DEEPEST = 20
_SWITCH = {"enabled", "paused_until"}
_USUAL = {item.name: item.default for value in (ScheduleOptions, ConfigContent) for item in fields(value)}
_ABSENT = object()

_Leaves = Mapping[str, tuple[object, object]]
"""By name: the value that is compared, and what is shown of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowEdit:
    """What was done to a row, and the columns that it concerns; `before` or `after` is None without a row."""

    what: str
    before: Content | None
    after: Content | None


def row_edit(
    noun: str, before: Content | None, after: Content | None, *, schema: Mapping[str, Any] | None = None
) -> RowEdit | None:
    """The edit that made `before` into `after`; None: nothing that people write differs.

    - `noun`: `schedule` or `config`.
    - `before`, `after`: the row; None: there was none, or there is none.
    - `schema`: the JSON Schema of the job's config, which says what is secret; None: it is not known.
    """
    if before is None and after is None:
        return None
    old, new = dict(_leaves(before or {}, schema)), dict(_leaves(after or {}, schema))
    if before is None:
        return RowEdit(what=f"create_{noun}", before=None, after=_unusual(new))
    if after is None:
        return RowEdit(what=f"delete_{noun}", before=_unusual(old), after=None)
    names = [name for name in old | new if _value(old, name) != _value(new, name)]
    if not names:
        return None
    return RowEdit(what=_what(noun, set(names), after), before=_shown(old, names), after=_shown(new, names))


def _what(noun: str, names: set[str], after: Content) -> str:
    if "enabled" in names and names <= _SWITCH:
        return "resume" if after["enabled"] else "pause"
    return f"edit_{noun}"


def _unusual(leaves: _Leaves) -> Content:
    """A whole row, without what it says by default."""
    return {
        name: shown
        for name, (value, shown) in leaves.items()
        if value is not None and value != _USUAL.get(name, _ABSENT)
    }


def _shown(leaves: _Leaves, names: list[str]) -> Content:
    return {name: leaves[name][1] for name in names if name in leaves}


def _value(leaves: _Leaves, name: str) -> object:
    # As JSON, for which 1 and true are two things.
    return json.dumps(leaves[name][0], sort_keys=True) if name in leaves else _ABSENT


def _leaves(
    content: Content, schema: Mapping[str, Any] | None
) -> Iterator[tuple[str, tuple[object, object]]]:
    for name, value in content.items():
        if name == _CONFIG:
            yield from _of_config(str(value), schema)
        elif name == _SECRET:
            yield name, (value, None if value is None else HIDDEN)
        else:
            yield name, (value, value)


def _of_config(text: str, schema: Mapping[str, Any] | None) -> Iterator[tuple[str, tuple[object, object]]]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):  # a database without CHECK constraints holds what was written
        yield _CONFIG, (text, HIDDEN)
        return
    shown = document if schema is None else hidden(document, schema)
    for path, value, seen in _paths(_CONFIG, document, shown, 0):
        yield path, (value, HIDDEN if schema is None else seen)


def _paths(path: str, value: Any, shown: Any, depth: int) -> Iterator[tuple[str, object, object]]:
    if isinstance(value, dict) and isinstance(shown, dict) and value and depth < _DEEPEST:
        for key, item in value.items():
            seen = HIDDEN if sounds_secret(key) and item is not None else shown[key]
            yield from _paths(f"{path}.{key}", item, seen, depth + 1)
    else:
        yield path, value, shown
