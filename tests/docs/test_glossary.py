"""`docs/glossary.md` has each noun once, and every name in it is one that the product has."""

from __future__ import annotations

import re
from collections import Counter
from enum import StrEnum

import pytest
import typer

from piko.cli import program
from piko.core import types
from piko.observability.metrics import Metrics
from piko.settings import Settings
from piko.store.schema.tables import metadata
from piko_operator import resources
from piko_operator.schedule_spec import ScheduleSpec
from piko_operator.settings import PREFIX, OperatorSettings
from tests.docs.pages import read

_ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in read("glossary.md").splitlines()
    if line.startswith("| ")
][1:]
_TERMS = [row[0] for row in _ROWS]
_NAMES = [(term, name) for term, _, places in _ROWS for name in re.findall(r"`([^`]+)`", places)]


def _product() -> set[str]:
    """Every name that people meet: columns, metrics, settings, commands, resources, words of enumerations."""
    suffixes = {"counter": "_total", "info": "_info"}
    tables = metadata.tables.values()
    return {
        *(table.name for table in tables),
        *(f"{table.name}.{column.name}" for table in tables for column in table.columns),
        *(family.name + suffixes.get(family.type, "") for family in Metrics().registry.collect()),
        *Settings.model_fields,
        *(PREFIX + name.upper() for name in OperatorSettings.model_fields),
        *(f"piko {name}" for name in typer.main.get_command(program()).commands),  # type: ignore[attr-defined]
        *(str(field.alias) for field in ScheduleSpec.model_fields.values()),
        *(kind for kind in dir(resources) if kind.startswith("Piko")),
        *(str(word) for kind in vars(types).values() if _is_enumeration(kind) for word in kind),
        "PikoApp",
    }


def _is_enumeration(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, StrEnum) and value is not StrEnum


def test_each_term_stands_once_and_in_alphabetical_order() -> None:
    assert [term for term, times in Counter(_TERMS).items() if times > 1] == []
    assert sorted(_TERMS, key=str.lower) == _TERMS


def test_each_term_has_one_meaning_that_is_a_sentence() -> None:
    assert [term for term, meaning, _ in _ROWS if not re.fullmatch(r"[A-Z`].*\.", meaning)] == []


@pytest.mark.parametrize(("term", "name"), _NAMES)
def test_a_name_in_the_glossary_is_one_of_the_product(term: str, name: str) -> None:
    assert name in _product(), f"{term}: nothing is called {name}"


def test_every_table_and_every_kind_of_resource_has_its_term() -> None:
    named = {name.partition(".")[0] for _, name in _NAMES}
    kinds = {"PikoSchedule", "PikoJobConfig", "PikoBackfill"}
    assert {*metadata.tables, *kinds} - named == set()


def test_every_outcome_is_explained() -> None:
    """Each in the glossary, or on the page that lists how a run ends."""
    told = read("glossary.md") + read("explanation/runs.md")
    assert [state for state in types.RunState if f"`{state}`" not in told] == []
