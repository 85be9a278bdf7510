"""What docs/running.md says of settings and metrics is what the code has."""

from __future__ import annotations

import re
from pathlib import Path

from piko.observability.metrics import Metrics
from piko.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "running.md").read_text()


def table(heading: str) -> dict[str, list[str]]:
    """The rows of the section's table by their first cell."""
    section = re.split(r"^## ", PAGE.partition(f"## {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line[:1] == "|"
    ]
    return {row[0].strip("`"): row[1:] for row in cells[2:]}


def test_every_setting_is_told_with_its_default_and_meaning() -> None:
    expected = {}
    for name, field in Settings.model_fields.items():
        default = field.default
        shown = str(default).lower() if isinstance(default, bool) else str(default)
        shown = f"{default:.12g}" if isinstance(default, float) else shown
        expected[name] = ["required" if field.is_required() else f"`{shown}`", field.description]
    assert table("Settings") == expected


def test_every_metric_is_told_with_its_type_and_meaning() -> None:
    suffixes = {"counter": "_total", "info": "_info"}
    expected = {
        family.name + suffixes.get(family.type, ""): (family.type, family.documentation)
        for family in Metrics().registry.collect()
    }
    assert {name: (cells[0], cells[2]) for name, cells in table("Metrics").items()} == expected
