"""`crds/` and `piko_operator.resources` say the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from piko_operator.resources import FINALIZER, GROUP, MODELS, VERSION

_CRDS = Path(__file__).parents[2] / "crds"
_BOUNDS = ("minimum", "maximum", "minLength", "maxLength", "maxItems", "format")


def _definition(kind: str) -> dict[str, Any]:
    definition: dict[str, Any] = yaml.safe_load((_CRDS / f"piko.dev_{kind.lower()}s.yaml").read_text())
    return definition


def _crd_facts(schema: dict[str, Any], path: str) -> dict[str, dict[str, Any]]:
    facts: dict[str, dict[str, Any]] = {}
    for name, item in schema.get("properties", {}).items():
        here = f"{path}.{name}"
        facts[here] = {
            "type": "int-or-string" if item.get("x-kubernetes-int-or-string") else item.get("type"),
            "required": name in schema.get("required", []),
            "enum": sorted(item["enum"]) if "enum" in item else None,
            "default": item.get("default"),
            **{bound: item.get(bound) for bound in _BOUNDS},
        }
        facts |= _crd_facts(item, here)
        facts |= _crd_facts(item.get("items", {}), f"{here}[]")
    return facts


def _model_facts(schema: dict[str, Any], definitions: dict[str, Any], path: str) -> dict[str, dict[str, Any]]:
    facts: dict[str, dict[str, Any]] = {}
    for name, item in schema.get("properties", {}).items():
        here, branches = f"{path}.{name}", _branches(item, definitions)
        merged: dict[str, Any] = {}
        for branch in branches:
            merged |= branch
        types = {branch.get("type") for branch in branches}
        facts[here] = {
            "type": "int-or-string"
            if merged.get("x-kubernetes-int-or-string")
            else None
            if len(types) > 1
            else types.pop(),
            "required": name in schema.get("required", []),
            "enum": sorted(merged["enum"]) if "enum" in merged else None,
            "default": item.get("default"),
            **{bound: merged.get(bound) for bound in _BOUNDS},
        }
        facts |= _model_facts(merged, definitions, here)
        for element in (
            _branches(merged["items"], definitions) if isinstance(merged.get("items"), dict) else []
        ):
            facts |= _model_facts(element, definitions, f"{here}[]")
    return facts


def _branches(item: dict[str, Any], definitions: dict[str, Any]) -> list[dict[str, Any]]:
    """The schemas an optional, a reference or a union stands for; null is how Python says absent."""
    if "$ref" in item:
        return _branches(definitions[item["$ref"].rsplit("/", 1)[1]] | _beside(item), definitions)
    for key in ("anyOf", "oneOf"):
        if key in item and not all(part.keys() == {"required"} for part in item[key]):
            found = [branch for part in item[key] for branch in _branches(part, definitions)]
            return [branch | _beside(item) for branch in found if branch.get("type") != "null"]
    return [item]


def _beside(item: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value for key, value in item.items() if key not in ("$ref", "anyOf", "oneOf", "default", "title")
    }


def _normal(facts: dict[str, Any], whole: dict[str, dict[str, Any]], path: str) -> dict[str, Any]:
    facts = dict(facts)
    if facts["default"] == [] or isinstance(facts["default"], dict):
        # A part's default is that of its fields; `{}` in the definition is how the server gets to them.
        children = {name: fact for name, fact in whole.items() if name.startswith(path + ".")}
        facts["default"] = [] if facts["default"] == [] else {}
        assert all(not fact["required"] for fact in children.values()) or not children
    if facts["type"] == "int-or-string" or path == "spec.schedule.cron":
        facts |= dict.fromkeys(_BOUNDS)  # checked in code on one side, in the two branches on the other
    return facts


@pytest.mark.parametrize("kind", list(MODELS))
def test_models_and_definitions_have_the_same_fields_types_bounds_and_defaults(kind: str) -> None:
    version = _definition(kind)["spec"]["versions"][0]
    crd = _crd_facts(version["schema"]["openAPIV3Schema"]["properties"]["spec"], "spec")
    schema = MODELS[kind].model_json_schema(by_alias=True)
    spec = _branches(schema["properties"]["spec"], schema["$defs"])[0]
    models = _model_facts(spec, schema["$defs"], "spec")
    assert {path: _normal(fact, models, path) for path, fact in models.items()} == {
        path: _normal(fact, crd, path) for path, fact in crd.items()
    }


@pytest.mark.parametrize("kind", list(MODELS))
def test_definitions_are_named_as_the_models_say(kind: str) -> None:
    definition = _definition(kind)
    assert definition["spec"]["group"] == GROUP
    assert definition["spec"]["versions"][0]["name"] == VERSION
    assert definition["spec"]["names"]["kind"] == kind
    assert FINALIZER.startswith(f"{GROUP}/")


@pytest.mark.parametrize("kind", list(MODELS))
def test_every_field_of_a_spec_that_is_not_plain_is_described(kind: str) -> None:
    spec = _definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert [name for name, item in spec["properties"].items() if not item.get("description")] == []
