"""Reads resource files without a cluster, by the rules that the API server would apply.

`piko dev` and the command line read files only here. Reading always succeeds: it returns the usable
resources, each with its lines, and a problem for everything else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from piko.errors import ManifestError, did_you_mean
from piko.json_object import check_json
from piko.text import error_text
from piko_operator.documents import DocumentError, Node, read_documents
from piko_operator.resources import API_VERSION, MODELS, Manifest

SUFFIXES = (".yaml", ".yml", ".json")
LARGEST_FILE = 4 * 1024 * 1024
"""The largest file that is read, in bytes; the API server accepts no resource of more than half of it."""

_MOST_PROBLEMS = 20
"""Problems of one resource that are listed; the rest is counted."""

_MOST_OF_A_FILE = 200
"""Problems of one file after which no further document is read."""

_MOST_SHOWN = 100
"""Values of an input that an error repeats."""

# Folders hold YAML of other tools too; even a misspelt resource of Piko names the group or a kind.
_OURS = re.compile(rb"piko\.dev|\bPiko(Schedule|JobConfig|Backfill)\b")
_LISTS = [["v1", "List"], *([API_VERSION, f"{kind}List"] for kind in MODELS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A resource and its place; `path` leads to the part of the document that it was read from."""

    resource: Manifest
    source: str
    document: Node
    path: tuple[int | str, ...] = ()

    @property
    def namespace(self) -> str | None:
        """That which the document names; None: it names none, and the one who applies it chooses."""
        part: Any = self.document.value
        for step in self.path:
            part = part[step]
        return None if "namespace" not in part["metadata"] else self.resource.metadata.namespace

    def line_of(self, *path: int | str) -> int:
        """The line of a field, such as `"spec", "schedule"`; if it is absent, the line of its parent."""
        return self.document.line_of((*self.path, *path))

    def problem(self, message: str, *path: int | str) -> Problem:
        """A problem with the field at `path`."""
        return Problem(
            source=self.source,
            line=self.line_of(*path),
            kind=self.resource.kind,
            name=self.resource.metadata.name,
            message=message,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A problem in a file; `line` is None if it concerns the whole file."""

    source: str
    line: int | None
    message: str
    kind: str | None = None
    name: str | None = None

    def __str__(self) -> str:
        where = self.source if self.line is None else f"{self.source}, line {self.line}"
        return f"{where}{f' ({self.kind} {self.name})' if self.kind else ''}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """The contents of a file."""

    resources: Sequence[Placed] = ()
    problems: Sequence[Problem] = field(default=())


def is_ours(content: bytes) -> bool:
    """Whether a file is meant for Piko and not for another tool."""
    return _OURS.search(content) is not None


def read_bytes(path: Path) -> bytes:
    """The beginning of a file, long enough to see that it is too large. Raises `OSError`."""
    with path.open("rb") as file:
        return file.read(LARGEST_FILE + 1)


def text_of(content: bytes, source: str) -> str | Problem:
    """The text of a file, or why it is not read; `source` is its name in problems."""
    if len(content) > LARGEST_FILE:
        why = f"larger than {LARGEST_FILE // 1024**2} MiB, so it is not read; split it"
        return Problem(source=source, line=None, message=why)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        why = f"not UTF-8 text: byte 0x{content[error.start]:02x} ({error.reason}); save it as UTF-8"
        return Problem(source=source, line=line, message=why)


def read_manifests(content: bytes, source: str) -> Contents:
    """The contents of a YAML or JSON file; `source` is its name in problems. Never raises."""
    text = text_of(content, source)
    if isinstance(text, Problem):
        return Contents(problems=[text])
    resources: list[Placed] = []
    problems: list[Problem] = []
    try:
        for document in read_documents(text):
            if len(problems) >= _MOST_OF_A_FILE:
                why = "too many problems; the rest of the file is not checked"
                problems.append(Problem(source=source, line=None, message=why))
                break
            if isinstance(document, DocumentError):
                problems.append(Problem(source=source, line=document.line, message=str(document)))
                continue
            for path, part in _unfolded(document):
                _read(part, path, document, source, resources, problems)
    except Exception as error:  # noqa: BLE001 any error is a problem of this file
        why = f"cannot be read: {error_text(error)}; please report this as a bug in Piko"
        problems.append(Problem(source=source, line=None, message=why))
    return Contents(resources=resources, problems=sorted(problems, key=lambda problem: problem.line or 0))


def load_manifests(text: str, source: str) -> list[Manifest]:
    """The resources in a YAML or JSON text; empty documents are skipped.

    Raises `ManifestError` with a line for each problem: `source`, the line in it, the field's path, its
    value, what was expected and what to do.
    """
    contents = read_manifests(text.encode("utf-8", "surrogatepass"), source)
    if contents.problems:
        raise ManifestError("\n".join(map(str, contents.problems)))
    return [placed.resource for placed in contents.resources]


def parse_manifest(document: object, where: str) -> Manifest:
    """One resource as a model. Raises `ManifestError` with a line for each bad field."""
    try:
        return _model(document).model_validate(document)
    except ValidationError as error:
        raise ManifestError("\n".join(f"{where}: {line}" for line in explain(error))) from None
    except ManifestError as error:
        raise ManifestError(f"{where}: {error}") from None


def _unfolded(document: Node) -> Iterator[tuple[tuple[int | str, ...], object]]:
    """The resources of a document: itself, or the items of a `List`, as `kubectl get -o yaml` writes one."""
    value = document.value
    if isinstance(value, Mapping) and [value.get("apiVersion"), value.get("kind")] in _LISTS:
        items = value.get("items")
        if isinstance(items, list):
            yield from ((("items", number), item) for number, item in enumerate(items))
            return
    yield (), value


def _read(
    part: object,
    path: tuple[int | str, ...],
    document: Node,
    source: str,
    resources: list[Placed],
    problems: list[Problem],
) -> None:
    def problem(message: str, location: Sequence[int | str] = (), **named: str) -> None:
        line = document.line_of((*path, *location))
        problems.append(Problem(source=source, line=line, message=message, **named))

    try:
        resource = _model(part).model_validate(part)
    except ManifestError as error:
        problem(str(error))
    except ValidationError as error:
        kind, metadata = part["kind"], part.get("metadata")  # type: ignore[index, attr-defined]
        name = str(metadata.get("name", "?")) if isinstance(metadata, Mapping) else "?"
        explained = _explained(error)
        for location, message in explained[:_MOST_PROBLEMS]:
            problem(message, location, kind=kind, name=_cut(name))
        if len(explained) > _MOST_PROBLEMS:
            problem(f"and {len(explained) - _MOST_PROBLEMS} more problems", kind=kind, name=_cut(name))
    else:
        resources.append(Placed(resource=resource, source=source, document=document, path=path))


def _model(document: object) -> type[Manifest]:
    *kinds, last = MODELS
    known = f"{', '.join(kinds)} or {last}"
    if not isinstance(document, Mapping):
        raise ManifestError(
            f"found {_shown(document)}; expected an object with apiVersion {API_VERSION} and kind {known}"
        )
    kind, api_version = document.get("kind"), document.get("apiVersion")
    if api_version != API_VERSION or not isinstance(kind, str) or kind not in MODELS:
        meant = did_you_mean(kind, MODELS) if isinstance(kind, str) and kind not in MODELS else ""
        remedy = meant or ". Remove the document, or keep it in a folder that Piko does not read"
        raise ManifestError(
            f"apiVersion {_shown(api_version)}, kind {_shown(kind)}; "
            f"expected apiVersion {API_VERSION} and kind {known}{remedy}"
        )
    return MODELS[kind]


def explain(error: ValidationError) -> list[str]:
    """One line per bad field: its path, its value, what was expected."""
    return [message for _, message in _explained(error)]


def _explained(error: ValidationError) -> list[tuple[tuple[int | str, ...], str]]:
    """Each bad field once, with its place."""
    model = MODELS.get(error.title)
    found = {_line(item, model): item["loc"] for item in reversed(error.errors(include_url=False))}
    return [(location, message) for message, location in reversed(found.items())]


def _line(item: Any, model: type[Manifest] | None) -> str:
    path = _path(item["loc"])
    message = str(item["msg"]).removeprefix("Value error, ")
    match item["type"]:
        case "missing":
            return f"{path}: missing; it is required, add it"
        case "extra_forbidden":
            meant = did_you_mean(str(item["loc"][-1]), _fields(model, item["loc"][:-1]))
            remedy = meant or "; remove it or correct its name (kubectl explain lists the fields)"
            return f"{path}: unknown field{remedy}"
        case "literal_error":
            return f"{path}: {_shown(item['input'])}: expected {item['ctx']['expected']}"
        case "model_type" | "dict_type":
            return f"{path}: {_shown(item['input'])}: expected an object"
        case _:
            return f"{path}: {_shown(item['input'])}: {message[:1].lower()}{message[1:]}"


def _fields(model: Any, path: Sequence[int | str]) -> list[str]:
    """The names of the fields at `path`, as they are written."""
    for step in path:
        fields = {item.alias or name: item for name, item in model.model_fields.items()} if model else {}
        if step in fields:  # an index or the branch of a union is not a field
            model = next(_models_in(fields[str(step)].annotation), None)
    return [item.alias or name for name, item in model.model_fields.items()] if model else []


def _models_in(annotation: Any) -> Iterator[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def _path(location: tuple[int | str, ...]) -> str:
    path, previous = "", None
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif not (
            previous == "cron" and part in ("text", "fields")
        ):  # the branch of the union is not a field
            path += f".{_cut(part)}" if path else _cut(part)
        previous = part
    return path or "the document"


def _shown(value: object) -> str:
    if isinstance(value, str):
        return _cut(repr(value))
    try:
        check_json(value, values=_MOST_SHOWN)  # this refuses values that json.dumps cannot handle
    except ValueError:
        return {dict: "an object", list: "a list", int: "a long number"}.get(type(value), str(value)[:120])
    return _cut(json.dumps(value, ensure_ascii=False))


def _cut(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:117]}..."
