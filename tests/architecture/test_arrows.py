"""Who imports whom: the contracts in `pyproject.toml`, and what they cannot state."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import PACKAGES, ROOT, imported_modules, module_level_imports, modules

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


def _knows_all_settings(path: Path) -> bool:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(
        name.startswith(("piko.settings", "piko_operator.settings")) for name in imported_modules(tree)
    )


def test_below_the_composition_nothing_knows_the_settings_as_a_whole() -> None:
    """What a module needs is passed to it by name, as a scalar or a small frozen group."""
    knowing = {
        path
        for package in PACKAGES
        for path in package.rglob("*.py")
        if not {path.relative_to(package).parts[0], path.relative_to(package).as_posix()}
        & set(_KNOW_ALL_SETTINGS[package.name])
        and _knows_all_settings(path)
    }
    assert knowing == set()


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_kubernetes_client_is_imported_on_request_only(path: Path) -> None:
    imported = set(module_level_imports(ast.parse(path.read_text(encoding="utf-8"))))
    heavy = {name for name, packages in _LAZY.items() if not set(packages) & set(path.parts)}
    assert not imported & heavy, (
        "these cost a second and 70 MB each: import them inside the function that needs them"
    )


@pytest.mark.parametrize("module", ["piko", "piko.cli", "piko_operator.resources"])
def test_importing_it_brings_no_kubernetes_client(module: str) -> None:
    shown = f"import {module}, sys; print([m for m in ('kopf', 'kubernetes_asyncio') if m in sys.modules])"
    outcome = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True)
    assert outcome.stdout == "[]\n"


@pytest.mark.parametrize("path", _VALUES, ids=lambda path: path.stem)
def test_values_import_schedules_core_types_errors_and_texts_alone(path: Path) -> None:
    imported = set(imported_modules(ast.parse(path.read_text(encoding="utf-8"))))
    ours = {name for name in imported if name.partition(".")[0] in ("piko", "piko_operator")}
    assert {name for name in ours if not _VALUES_MAY_IMPORT.fullmatch(name)} == set()
