"""`crds/`, and the chart's copy of it, from the operator's models: `make generate` writes them.

What a field is, which bounds and rules it has, and what describes it stands at the models of
`piko_operator.resources` and `piko_operator.reported`. Pydantic makes a JSON schema of them; here it becomes
a structural one, as the API server wants it: without references, null, titles and unknown keywords.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from piko_operator.reported import (
    BACKFILL_COLUMNS,
    CONFIG_COLUMNS,
    SCHEDULE_COLUMNS,
    BackfillStatus,
    ConfigStatus,
    PrinterColumn,
    ScheduleStatus,
)
from piko_operator.resources import GROUP, MODELS, VERSION

ROOT = Path(__file__).parents[1]
FOLDERS = (ROOT / "crds", ROOT / "helm" / "piko" / "files" / "crds")

_HEAD = "# Generated from piko_operator/resources.py by `make generate`: edit the models.\n"
_ORDER = (
    *("type", "format", "x-kubernetes-int-or-string", "description", "enum", "default"),
    *("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems"),
    *("minProperties", "maxProperties", "pattern", "not", "anyOf", "required"),
    *("x-kubernetes-preserve-unknown-fields", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"),
    "x-kubernetes-map-type",
    *("x-kubernetes-validations", "properties", "items"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """What the models do not say of a kind."""

    kind: str
    short: str
    columns: Sequence[PrinterColumn]
    status: type[BaseModel]

    @property
    def plural(self) -> str:
        return f"{self.kind.lower()}s"

    @property
    def file(self) -> str:
        return f"{GROUP}_{self.plural}.yaml"


DEFINITIONS = (
    Definition(kind="PikoSchedule", short="psch", columns=SCHEDULE_COLUMNS, status=ScheduleStatus),
    Definition(kind="PikoJobConfig", short="pjc", columns=CONFIG_COLUMNS, status=ConfigStatus),
    Definition(kind="PikoBackfill", short="pbf", columns=BACKFILL_COLUMNS, status=BackfillStatus),
)


def files() -> dict[Path, str]:
    """Every file that is generated, and what it is to hold."""
    return {
        folder / definition.file: _HEAD + _yaml(custom_resource_definition(definition))
        for folder in FOLDERS
        for definition in DEFINITIONS
    }


def custom_resource_definition(definition: Definition) -> dict[str, Any]:
    """The object that the API server is given."""
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [_printed(column) for column in definition.columns],
        "selectableFields": [{"jsonPath": ".spec.jobId"}],
        "schema": {"openAPIV3Schema": _resource(definition)},
    }
    names = {
        "kind": definition.kind,
        "listKind": f"{definition.kind}List",
        "plural": definition.plural,
        "singular": definition.kind.lower(),
        "shortNames": [definition.short],
        "categories": ["piko"],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{definition.plural}.{GROUP}"},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def structural_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of `model` as the API server takes one."""
    schema = model.model_json_schema(by_alias=True)
    return _structural(schema, schema.get("$defs", {}))


def _resource(definition: Definition) -> dict[str, Any]:
    model = MODELS[definition.kind]
    spec = structural_schema(model.model_fields["spec"].annotation)  # type: ignore[arg-type]
    # Programs that read a status (kstatus) must not take a resource that has not been looked at for settled.
    status = structural_schema(definition.status) | {"default": {"observedGeneration": -1}}
    # It has one writer: who has set which of its fields would be a third of what the API server keeps.
    status["x-kubernetes-map-type"] = "atomic"
    return {
        "type": "object",
        "description": model.__doc__,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": _in_order(status),
        },
    }


def _structural(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    found = _resolved(schema, definitions)
    if found.get("default", "") is None:
        del found["default"]
    if "properties" in found:
        properties = found["properties"].items()
        found["properties"] = {name: _structural(item, definitions) for name, item in properties}
        if "default" in found:
            found["default"] = {}  # the server fills in the defaults of its fields
    if "items" in found:
        found["items"] = _structural(found["items"], definitions)
    return _in_order(found)


def _resolved(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """`schema` with what it refers to in its place; keys next to a reference take precedence."""
    found = dict(schema)
    if "$ref" in found:
        target = definitions[found.pop("$ref").rpartition("/")[2]]
        return _resolved({**target, **found}, definitions)
    branches = [item for item in found.get("anyOf", ()) if item != {"type": "null"}]
    if len(branches) == 1 and len(found["anyOf"]) == 2:
        del found["anyOf"]
        return _resolved({**branches[0], **found}, definitions)
    return found


def _in_order(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {name: schema[name] for name in _ORDER if name in schema}


def _printed(column: PrinterColumn) -> dict[str, Any]:
    return dict(_printed_items(column))


def _printed_items(column: PrinterColumn) -> Iterator[tuple[str, Any]]:
    yield "name", column.name
    yield "type", column.type
    if column.wide:
        yield "priority", 1
    yield "jsonPath", column.path
    if column.description is not None:
        yield "description", column.description


class _Dumper(yaml.SafeDumper):
    """Writes the same text twice instead of an alias."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _yaml(value: Mapping[str, Any]) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def write() -> None:
    """Write every file."""
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
