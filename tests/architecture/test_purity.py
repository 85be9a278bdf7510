"""What is pure stays pure when it runs: importing it loads nothing that reads, writes, waits or counts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT

_IMPURE = ("asyncio", "prometheus_client", "sqlalchemy")
_RUNTIME = ROOT / "runtime"
_OF_THE_OPERATOR = [
    "piko_operator.conditions",
    "piko_operator.config_spec",
    "piko_operator.field_types",
    "piko_operator.freshness",
    "piko_operator.mapping",
    "piko_operator.news",
    "piko_operator.ownership",
    "piko_operator.pacing",
    "piko_operator.policies",
    "piko_operator.reported",
    "piko_operator.resources",
    "piko_operator.schedule_spec",
    "piko_operator.shapes",
    "piko_operator.tenancy",
    "piko_operator.trigger_annotation",
    "piko_operator.trigger_spec",
]
_SHOWN = """
import importlib, sys
for name in sys.argv[2:]:
    importlib.import_module(name)
    loaded = [impure for impure in sys.argv[1].split(",") if impure in sys.modules]
    if loaded:
        sys.exit(f"{name} loads {loaded}")
"""


def modules_of(package: str) -> list[str]:
    folder = _RUNTIME / Path(*package.split("."))
    names = (path.relative_to(_RUNTIME).with_suffix("").parts for path in sorted(folder.rglob("*.py")))
    return [".".join(name[:-1] if name[-1] == "__init__" else name) for name in names]


@pytest.mark.parametrize(
    "modules",
    [
        pytest.param(modules_of("piko.decisions"), id="decisions"),
        pytest.param(modules_of("piko.model"), id="model"),
        pytest.param(modules_of("piko.simulation"), id="simulation"),
        pytest.param(modules_of("piko.schedule"), id="schedule"),
        pytest.param(modules_of("piko.core"), id="core"),
        pytest.param(["piko.execution.outcome"], id="outcome"),
        pytest.param(_OF_THE_OPERATOR, id="operator"),
    ],
)
@pytest.mark.usefixtures("programs")
def test_importing_it_loads_nothing_that_does_anything(modules: list[str]) -> None:
    command = [sys.executable, "-c", _SHOWN, ",".join(_IMPURE), *modules]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr


@pytest.mark.usefixtures("programs")
def test_what_loads_something_is_named() -> None:
    command = [sys.executable, "-c", _SHOWN, ",".join(_IMPURE), "piko.model.runs", "piko.catalog.catalog"]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert outcome.stderr.strip() == "piko.catalog.catalog loads ['asyncio']"
