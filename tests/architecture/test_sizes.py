"""How large a module, a class, and what it can do may be in the rooms that everything goes through."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.architecture.sources import PACKAGES

_ROOMS = ("background", "replica", "settings")
_SHORT = (*_ROOMS, "model", "spool", "store")
_MODULE_LINES, _CLASS_LINES, _METHODS = 300, 200, 15


def _modules(rooms: Sequence[str]) -> Iterator[Path]:
    for room in rooms:
        yield from (PACKAGES[0] / room).rglob("*.py")


def _classes(path: Path) -> Iterator[ast.ClassDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


def test_a_module_holds_one_idea() -> None:
    lengths = {str(path): len(path.read_text(encoding="utf-8").splitlines()) for path in _modules(_SHORT)}
    assert {name: length for name, length in lengths.items() if length > _MODULE_LINES} == {}


def test_a_class_does_one_thing() -> None:
    too_large = {}
    for path in _modules(_ROOMS):
        for node in _classes(path):
            assert node.end_lineno is not None
            lines = node.end_lineno - node.lineno + 1
            methods = sum(isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) for item in node.body)
            if lines > _CLASS_LINES or methods > _METHODS:
                too_large[node.name] = (lines, methods)
    assert too_large == {}
