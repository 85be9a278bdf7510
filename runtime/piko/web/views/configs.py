"""A config as it is shown: without values that its model declares secret."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from piko.model.revisions import revision_in_force
from piko.store.reports.config_history import RevisionReport
from piko.web.views.words import Mark, Moment, Tone, first_line, moment

HIDDEN = "••••••"
_DEEPEST = 20
_LONGEST = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionLine:
    """A revision in the history of a config."""

    number: int
    mark: Mark
    created: Moment | None
    effective: Moment | None
    author: str
    problem: str
    text: str


def history(revisions: Sequence[RevisionReport], now: datetime) -> list[RevisionLine]:
    """`revisions`, oldest first, as lines with the newest first."""
    current = revision_in_force(revisions, now)
    return [_line(item, now, current=current) for item in reversed(revisions)]


def _line(item: RevisionReport, now: datetime, *, current: RevisionReport | None) -> RevisionLine:
    if item.error is not None:
        mark = Mark(text="Invalid", tone=Tone.BAD)
    elif current is not None and item.revision == current.revision:
        mark = Mark(text="In force", tone=Tone.GOOD)
    elif item.effective_from is not None and item.effective_from > now:
        mark = Mark(text="Coming", tone=Tone.BUSY)
    else:
        mark = Mark(text="Past", tone=Tone.QUIET)
    return RevisionLine(
        number=item.revision,
        mark=mark,
        created=moment(item.created_at, now),
        effective=moment(item.effective_from, now),
        author=item.author or ("SQL" if item.source in (None, "sql") else "resource"),
        problem=first_line(item.error or item.warning),
        text=shown(item.config_json, item.config_schema),
    )


def shown(config_json: str, config_schema: str | None) -> str:
    """The config, indented, with what its JSON Schema declares as a secret hidden."""
    try:
        hidden = without_secrets(config_json, config_schema)
    except ValueError:
        return "(not JSON)"
    text = json.dumps(hidden, indent=2, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}\n… {len(text) - _LONGEST:,} more characters"


def without_secrets(config_json: str, config_schema: str | None) -> Any:
    """The config with what its JSON Schema declares as a secret hidden. Raises `ValueError`: not JSON."""
    schema = json.loads(config_schema) if config_schema else {}
    return _hidden(json.loads(config_json), schema, schema, 0)


def _hidden(value: Any, schema: Any, whole: Mapping[str, Any], depth: int) -> Any:
    """`value` with what `schema`, or any of its alternatives, declares secret replaced."""
    parts = _alternatives(schema, whole, depth)
    if any(part.get("writeOnly") or part.get("format") == "password" for part in parts):
        return value if value is None else HIDDEN
    if depth >= _DEEPEST:
        return HIDDEN
    if isinstance(value, dict):
        return {
            key: _hidden(item, {"anyOf": [_member(part, key) for part in parts]}, whole, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list):
        items = {"anyOf": [part.get("items", {}) for part in parts]}
        return [_hidden(item, items, whole, depth + 1) for item in value]
    return value


def _member(part: Mapping[str, Any], key: str) -> Any:
    properties = part.get("properties", {})
    return properties[key] if key in properties else part.get("additionalProperties", {})


def _alternatives(schema: Any, whole: Mapping[str, Any], depth: int) -> list[Mapping[str, Any]]:
    """`schema` with what it refers to and consists of, as deep as a config may be."""
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return []
    found: list[Mapping[str, Any]] = [schema]
    reference = schema.get("$ref", "")
    if reference.startswith("#/$defs/"):
        found += _alternatives(
            whole.get("$defs", {}).get(reference.removeprefix("#/$defs/")), whole, depth + 1
        )
    for kind in ("anyOf", "oneOf", "allOf"):
        for item in schema.get(kind, ()):
            found += _alternatives(item, whole, depth + 1)
    return found
