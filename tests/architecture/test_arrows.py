"""Who imports whom: the contracts in `pyproject.toml`, and what they cannot state."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import PACKAGES, ROOT, imported_modules, module_level_imports, trees

_VALUES = sorted((PACKAGES[0] / "model").glob("[!_]*.py"))
_VALUES_MAY_IMPORT = re.compile(r"piko[.](core[.]types|errors|model[.]\w+|schedule([.]\w+)?|text)")
_LAZY = {"kopf": ("piko_operator",), "kubernetes_asyncio": ("piko_operator",)}


def test_every_arrow_points_the_way_it_should() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    outcome = subprocess.run(
        [program, "--no-cache", "--no-logo"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


_KNOW_ALL_SETTINGS = {
    "piko": ("app.py", "replica", "cli", "dev", "settings", "web/options.py"),
    "piko_operator": ("__main__.py", "program.py", "composition.py", "settings.py"),
}


def test_below_the_composition_nothing_knows_the_settings_as_a_whole() -> None:
    """What a module needs is passed to it by name, as a scalar or a small frozen group."""
    assert {path for path, tree in trees().items() if _knows_all_settings(tree)} - _may_know() == set()


def _knows_all_settings(tree: ast.Module) -> bool:
    return any(
        name.startswith(("piko.settings", "piko_operator.settings")) for name in imported_modules(tree)
    )


def _may_know() -> set[Path]:
    places = [package / place for package in PACKAGES for place in _KNOW_ALL_SETTINGS[package.name]]
    return {path for path in trees() if any(path.is_relative_to(place) for place in places)}


def test_traces_use_the_api_of_opentelemetry_alone() -> None:
    """An SDK is the program's own to choose."""
    names = {name for tree in trees().values() for name in imported_modules(tree)}
    used = {name for name in names if name.split(".")[0] == "opentelemetry"}
    assert used
    assert {
        name for name in used if not re.match(r"opentelemetry[.]?(context|propagate|trace)?$", name)
    } == set()


def test_a_kubernetes_client_is_imported_on_request_only() -> None:
    eager = {
        f"{path.relative_to(ROOT)}: {name}"
        for path, tree in trees().items()
        for name in set(module_level_imports(tree)) & _LAZY.keys()
        if not set(_LAZY[name]) & set(path.parts)
    }
    assert eager == set(), (
        "these cost a second and 70 MB each: import them inside the function that needs them"
    )


@pytest.mark.parametrize("module", ["piko", "piko.cli", "piko_operator.resources"])
@pytest.mark.usefixtures("programs")
def test_importing_it_brings_no_kubernetes_client(module: str) -> None:
    shown = f"import {module}, sys; print([m for m in ('kopf', 'kubernetes_asyncio') if m in sys.modules])"
    outcome = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True)
    assert outcome.stdout == "[]\n"


def test_values_import_schedules_core_types_errors_and_texts_alone() -> None:
    imported = {
        f"{path.name}: {name}"
        for path in _VALUES
        for name in imported_modules(trees()[path])
        if name.partition(".")[0] in ("piko", "piko_operator") and not _VALUES_MAY_IMPORT.fullmatch(name)
    }
    assert imported == set()
