"""Resource files read without a cluster, by the rules that the API server would apply."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import ValidationError

from piko.errors import ManifestError
from piko_operator.resources import API_VERSION, MODELS, Manifest


class _Loader(yaml.SafeLoader):
    """YAML as kubectl reads it: a timestamp is a string, and a key given twice is an error."""

    yaml_implicit_resolvers = {  # noqa: RUF012 PyYAML's own spelling
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen and key.value != "<<":
                raise yaml.constructor.ConstructorError(
                    "while reading a mapping",
                    node.start_mark,
                    f"key {key.value!r} is given twice",
                    key.start_mark,
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def load_manifests(text: str, source: str) -> list[Manifest]:
    """The resources in a YAML or JSON text; empty documents are passed over.

    Raises `ManifestError` that names `source`, the document (counted from 1), and for every bad field its
    path, its value, what was expected and what to do.
    """
    try:
        documents = list(yaml.load_all(text, Loader=_Loader))
    except yaml.YAMLError as error:
        raise ManifestError(f"{source}: not YAML: {error}") from None
    return [
        parse_manifest(document, f"{source}, document {number}")
        for number, document in enumerate(documents, start=1)
        if document is not None
    ]


def parse_manifest(document: object, where: str) -> Manifest:
    """One resource as a model. Raises `ManifestError` as `load_manifests` does."""
    known = " or ".join(MODELS)
    if not isinstance(document, Mapping):
        raise ManifestError(
            f"{where}: found {_shown(document)}; expected an object with apiVersion {API_VERSION} "
            f"and kind {known}"
        )
    kind, api_version = document.get("kind"), document.get("apiVersion")
    if api_version != API_VERSION or not isinstance(kind, str) or kind not in MODELS:
        raise ManifestError(
            f"{where}: apiVersion {_shown(api_version)}, kind {_shown(kind)}; "
            f"expected apiVersion {API_VERSION} and kind {known}. "
            "Remove the document, or keep it in a folder that Piko does not read"
        )
    try:
        return MODELS[kind].model_validate(document)
    except ValidationError as error:
        name = (
            document.get("metadata", {}).get("name", "?")
            if isinstance(document.get("metadata"), Mapping)
            else "?"
        )
        lines = explain(error)
        raise ManifestError("\n".join(f"{where} ({kind} {name}): {line}" for line in lines)) from None


def explain(error: ValidationError) -> list[str]:
    """One line per bad field: its path, its value, what was expected."""
    return list(dict.fromkeys(_line(item) for item in error.errors(include_url=False)))


def _line(item: Any) -> str:
    path = _path(item["loc"])
    message = str(item["msg"]).removeprefix("Value error, ")
    match item["type"]:
        case "missing":
            return f"{path}: missing; it is required, add it"
        case "extra_forbidden":
            return f"{path}: unknown field; remove it or correct its name (kubectl explain lists the fields)"
        case "literal_error":
            return f"{path}: {_shown(item['input'])}: expected {item['ctx']['expected']}"
        case "model_type" | "dict_type":
            return f"{path}: {_shown(item['input'])}: expected an object"
        case _:
            return f"{path}: {_shown(item['input'])}: {message[:1].lower()}{message[1:]}"


def _path(location: tuple[int | str, ...]) -> str:
    path, previous = "", None
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif not (previous == "cron" and part in ("text", "fields")):  # the branch of the union is no field
            path += f".{part}" if path else part
        previous = part
    return path or "the document"


def _shown(value: object) -> str:
    text = (
        repr(value)
        if isinstance(value, str)
        else yaml.safe_dump(value, default_flow_style=True).split("\n")[0]
    )
    return text if len(text) <= 120 else text[:117] + "..."
