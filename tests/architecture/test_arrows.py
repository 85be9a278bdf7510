"""Who imports whom: the contracts in `pyproject.toml`, and what they cannot state."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT, module_level_imports, modules

_LAZY = {"kopf": ("piko_operator",), "kubernetes_asyncio": ("piko_operator",)}


def test_every_arrow_points_the_way_it_should() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    outcome = subprocess.run(
        [program, "--no-cache", "--no-logo"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


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
