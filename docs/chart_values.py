"""The values of the chart as a table, from `values.yaml`, whose comments say what each is for.

A comment describes the key below it. A key without one is as in `runtime`, which comes first and describes
the options that all components share.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

VALUES = Path(__file__).parent.parent / "helm" / "piko" / "values.yaml"

_KEY = re.compile(r"( *)(\w+):(?: (.*))?")
_SHARED = "runtime"


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One value: `path` with dots, `default` as YAML, `text` from the comment, "" without one."""

    path: str
    default: str
    text: str


def described() -> list[Value]:
    """Each value that can be set by itself, in the order of the file."""
    found: list[Value] = []
    comment: list[str] = []
    above: list[str] = []
    lines = VALUES.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if line.lstrip().startswith("#"):
            comment.append(line.strip().removeprefix("# "))
            continue
        if match := _KEY.fullmatch(line):
            depth = len(match[1]) // 2
            above[depth:] = [match[2]]
            inner = _inner(lines, number, len(match[1]))
            path = ".".join(above)
            if match[3] is not None or path.endswith(".resources"):
                default = match[3] if match[3] is not None else "{" + ", ".join(inner) + "}"
                found.append(Value(path=path, default=default, text=_sentences(comment)))
        comment = []
    return found


def _sentences(comment: list[str]) -> str:
    """The words of a comment, without the lines of an example."""
    return " ".join(line for line in comment if not line.startswith(("- ", "  "))).removesuffix(":")


def _inner(lines: list[str], number: int, indent: int) -> list[str]:
    """The lines below a key that are further in."""
    inner = []
    for line in lines[number + 1 :]:
        if not line.startswith(" " * (indent + 1)):
            break
        inner.append(line.strip())
    return inner


def table() -> Iterator[str]:
    """The table: what a component shares with `runtime` is described there alone."""
    values = [each for each in described() if ".resources." not in each.path]
    yield "| value | default | |\n|---|---|---|\n"
    for each in values:
        text = each.text.replace("|", "\\|") or _without_text(each.path, values)
        yield f"| `{each.path}` | `{each.default}` | {text} |\n"


def _without_text(path: str, values: list[Value]) -> str:
    name = path.split(".", 1)[1] if "." in path else path
    for shared in (f"{_SHARED}.{name}", f"serviceMonitor.{name}"):
        if any(each.path == shared and each.text for each in values):
            return f"as `{shared}`"
    return ""
