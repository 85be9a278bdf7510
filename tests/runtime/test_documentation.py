"""What docs/reference/ says of settings and metrics is what the code has."""

from __future__ import annotations

from piko.observability.metrics import Metrics
from piko.settings import Settings
from tests.docs.pages import generated, table


def test_every_setting_is_told_with_its_default_and_meaning() -> None:
    expected = {}
    for name, field in Settings.model_fields.items():
        default = field.default
        shown = str(default).lower() if isinstance(default, bool) else str(default)
        shown = f"{default:.12g}" if isinstance(default, float) else shown
        expected[name] = ["required" if field.is_required() else f"`{shown}`", field.description]
    assert table(generated("reference/settings.md", "settings")) == expected


def test_every_metric_is_told_with_its_type_and_meaning() -> None:
    suffixes = {"counter": "_total", "info": "_info"}
    expected = {
        family.name + suffixes.get(family.type, ""): (family.type, family.documentation)
        for family in Metrics().registry.collect()
    }
    told = table(generated("reference/metrics.md", "metrics"))
    assert {name: (cells[0], cells[2]) for name, cells in told.items()} == expected
