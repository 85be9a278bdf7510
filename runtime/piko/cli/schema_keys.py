"""Keys of a config that its job's published JSON Schema does not have: mostly they are misspelt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from piko.errors import did_you_mean
from piko.text import listed

Path = tuple[str | int, ...]


def key_warning(schema: Mapping[str, Any], document: Mapping[str, Any]) -> str | None:
    """What of `document` a model with this schema would leave out; None where there is nothing.

    The replicas ask the model itself, which may know other names of a key.
    """
    found = _unknown(schema, schema, document, ())
    told = (
        f"{'.'.join(map(str, path))}: the published schema has no such key"
        + did_you_mean(str(path[-1]), known)
        for path, known in found
    )
    return listed(told, separator="; ") or None


def _unknown(
    root: Mapping[str, Any], schema: Any, value: object, path: Path
) -> Iterator[tuple[Path, list[str]]]:
    schema = _resolved(root, schema)
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown(root, schema.get("items"), item, (*path, index))
    properties = schema.get("properties")
    if not isinstance(value, dict) or not isinstance(properties, dict):
        return
    for key, item in value.items():
        if key in properties:
            yield from _unknown(root, properties[key], item, (*path, key))
        elif "additionalProperties" not in schema:  # else it says itself what it does with others
            yield (*path, key), sorted(properties)


def _resolved(root: Mapping[str, Any], schema: Any) -> Mapping[str, Any]:
    """What `schema` refers to; nothing where more than one form could be meant."""
    if not isinstance(schema, dict):
        return {}
    forms = [form for form in schema.get("anyOf", []) if form != {"type": "null"}]
    if len(forms) == 1:
        return _resolved(root, forms[0])
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/$defs/"):
        found = root.get("$defs", {}).get(reference.removeprefix("#/$defs/"))
        return found if isinstance(found, dict) else {}
    return schema
