"""What a page names is there: metrics, commands, environment variables, targets of make."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
import typer
from prometheus_client import CollectorRegistry

from piko.cli import program
from piko.observability.metrics import Metrics
from piko.settings import Settings
from piko_operator.metrics import OperatorMetrics
from piko_operator.settings import PREFIX, OperatorSettings
from tests.architecture.sources import PACKAGES
from tests.docs.pages import ROOT, pages

_PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *pages()]
_SUFFIXES = {"counter": "_total", "info": "_info"}
_FIXTURES = {"piko_app", "piko_run_job", "piko_timeline"}
_NO_METRICS = {"piko_operator", "piko_process", "piko_schema_version", *_FIXTURES}
_OTHER_VARIABLES = {"PIKO_SETTINGS_PATH", "PIKO_TIMEZONE"}

_each_page = pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@_each_page
def test_a_metric_that_a_page_names_exists(page: Path) -> None:
    registries: Iterable[CollectorRegistry] = (Metrics().registry, OperatorMetrics().registry)
    known = {
        family.name + _SUFFIXES.get(family.type, "")
        for registry in registries
        for family in registry.collect()
    }
    named = set(re.findall(r"\bpiko_[a-z_]+[a-z]\b(?![_…(])", page.read_text("utf-8")))
    assert named - known - _NO_METRICS == set()


@_each_page
def test_a_command_that_a_page_shows_exists(page: Path) -> None:
    known = set(typer.main.get_command(program()).commands)  # type: ignore[attr-defined]
    shown = re.findall(r"(?:^\$ |`)piko ([a-z]+)\b", page.read_text("utf-8"), flags=re.MULTILINE)
    assert set(shown) - known == set()


def test_a_command_that_a_message_names_exists() -> None:
    commands = typer.main.get_command(program()).commands  # type: ignore[attr-defined]
    sources = {path: path.read_text("utf-8") for package in PACKAGES for path in package.rglob("*.py")}
    named = [
        (path.name, name, within)
        for path, source in sources.items()
        for name, within in re.findall(r"`piko ([a-z]+)(?: ([a-z]+))?", source)
    ]
    assert len(named) > 50
    assert [item for item in named if item[1] not in commands] == []
    groups = {name: group.list_commands(None) for name, group in commands.items() if _is_group(group)}
    assert [item for item in named if item[2] and item[2] not in groups.get(item[1], item[2])] == []


def _is_group(command: object) -> bool:
    return hasattr(command, "list_commands")


@_each_page
def test_a_variable_that_a_page_names_exists(page: Path) -> None:
    known = {f"PIKO_{name.upper()}" for name in Settings.model_fields}
    known |= {PREFIX + name.upper() for name in OperatorSettings.model_fields}
    named = set(re.findall(r"\bPIKO_[A-Z_]+[A-Z]\b", page.read_text("utf-8")))
    named = {name for name in named if not name.startswith("PIKO_TEST_")}
    assert named - known - _OTHER_VARIABLES == set()


@_each_page
def test_a_target_of_make_that_a_page_names_exists(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    known = set(re.findall(r"^([a-z0-9-]+):", makefile, flags=re.MULTILINE))
    named = re.findall(r"(?:^\$ |`)make ([a-z0-9-]+)", page.read_text("utf-8"), flags=re.MULTILINE)
    assert set(named) - known == set()
