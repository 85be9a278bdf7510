"""Which values of a config are secret, by its job's published JSON Schema and by their names. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "••••••"
_DEEPEST = 20
_SECRET_NAME = re.compile(r"pass|secret|token|credential|private|dsn|(^|_)(key|pwd|auth)", re.IGNORECASE)


def sounds_secret(name: str) -> bool:
    """Whether a value of that name is probably secret, whatever its model declares."""
    return _SECRET_NAME.search(name) is not None


def hidden(value: Any, schema: Mapping[str, Any]) -> Any:
    """`value` with what `schema`, or any of its alternatives, declares secret replaced by `HIDDEN`."""
    return _hidden(value, schema, schema, 0)


def shown_config(config_json: str, schema_text: str | None) -> Any:
    """A config as people see it: without what its job's model declares secret, or has a telling name.

    `schema_text`: the JSON Schema of the model, as text; None: it is not known. Raises `ValueError` if
    `config_json` is not JSON.
    """
    config = json.loads(config_json)
    return _without_telling(hidden(config, json.loads(schema_text) if schema_text else {}), 0)


def patchable(config: Any, shown: Any) -> Any:
    """What of an object a merge patch may hold that people see: the keys of which nothing is hidden."""
    if not isinstance(config, dict):
        return config
    return {
        key: patchable(item, shown[key])
        for key, item in config.items()
        if item == shown[key] or (isinstance(item, dict) and isinstance(shown[key], dict))
    }


def _without_telling(value: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        return HIDDEN
    if isinstance(value, dict):
        return {
            key: HIDDEN if item is not None and sounds_secret(key) else _without_telling(item, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_without_telling(item, depth + 1) for item in value]
    return value


def _hidden(value: Any, schema: Any, whole: Mapping[str, Any], depth: int) -> Any:
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
