"""Keys of a config that its job's published JSON Schema does not have; most are misspelt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from piko.errors import did_you_mean
from piko.text import listed

Path = tuple[str | int, ...]


def key_warning(schema: Mapping[str, Any], document: Mapping[str, Any]) -> str | None:
    """A warning about keys of `document` that a model with this schema would ignore; None if there are none.

    A replica checks the model itself, which may accept other names for a key.
    """
    found = _unknown(schema, schema, document, ())
    unknown = (
        f"{'.'.join(map(str, path))}: the published schema has no such key"
        + did_you_mean(str(path[-1]), known)
        for path, known in found
    )
    return listed(unknown, separator="; ") or None


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
        elif (
            "additionalProperties" not in schema
        ):  # otherwise the schema itself states what happens to other keys
            yield (*path, key), sorted(properties)


def _resolved(root: Mapping[str, Any], schema: Any) -> Mapping[str, Any]:
    """The schema that `schema` refers to; empty if it allows more than one form."""
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
