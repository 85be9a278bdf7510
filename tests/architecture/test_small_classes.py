"""Where the leader decides, where that is carried out, and where parts meet, nothing does it all."""

from __future__ import annotations

import ast

from tests.architecture.sources import ROOT

_METHODS, _LINES, _MODULE_LINES = 15, 200, 300
_MODULES = [
    path
    for package in ("background", "decisions", "replica", "scheduler", "settings")
    for path in sorted((ROOT / "runtime" / "piko" / package).rglob("*.py"))
]


_SHORT = [
    path
    for package in ("model", "spool", "store")
    for path in sorted((ROOT / "runtime" / "piko" / package).rglob("*.py"))
]


def methods(node: ast.ClassDef) -> list[str]:
    return [item.name for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)]


def lines(node: ast.ClassDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def too_large(source: str) -> list[str]:
    classes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]
    return [
        f"{node.name}: {len(methods(node))} methods, {lines(node)} lines"
        for node in classes
        if len(methods(node)) > _METHODS or lines(node) > _LINES
    ]


def test_no_class_and_no_module_is_large() -> None:
    sources = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in _MODULES}
    found = {path: too_large(source) for path, source in sources.items()}
    assert {path: classes for path, classes in found.items() if classes} == {}
    lengths = {path: len(source.splitlines()) for path, source in sources.items()}
    assert {path: length for path, length in lengths.items() if length > _MODULE_LINES} == {}


def test_no_module_of_values_files_or_sql_is_long() -> None:
    lengths = {str(path): len(path.read_text(encoding="utf-8").splitlines()) for path in _SHORT}
    assert {path: length for path, length in lengths.items() if length > _MODULE_LINES} == {}


def test_what_is_too_large_is_named() -> None:
    source = "class Everything:\n" + "".join(f"    def f{number}(self): ...\n" for number in range(16))
    assert too_large(source) == ["Everything: 16 methods, 17 lines"]
    source = "class Long:\n    x = 0\n" + "\n" * 199 + "    y = 0\n"
    assert too_large(source) == ["Long: 0 methods, 202 lines"]
