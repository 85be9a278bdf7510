"""The manifests that are shown to people."""

from __future__ import annotations

from pathlib import Path

import pytest

from piko_operator.manifests import load_manifests
from tests.harness.control_plane import ControlPlane

_ROOT = Path(__file__).parents[2]
_FILES = sorted((_ROOT / "examples" / "manifests").glob("*.yaml"))


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.name)
def test_an_example_is_accepted_offline_and_by_the_server(path: Path, crds: ControlPlane) -> None:
    assert load_manifests(path.read_text(encoding="utf-8"), path.name)
    crds.kubectl("apply", "--dry-run=server", "-f", str(path))


def test_the_documentation_names_every_field_and_setting() -> None:
    from piko_operator.backfill_spec import BackfillRangeSpec
    from piko_operator.config_spec import JobConfigSpec
    from piko_operator.schedule_spec import ScheduleSpec
    from piko_operator.settings import PREFIX, SHARED, OperatorSettings

    pages = (
        _ROOT / "docs" / "reference" / name for name in ("custom-resources.md", "settings.md", "tables.md")
    )
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    models = (ScheduleSpec, JobConfigSpec, BackfillRangeSpec)
    fields = {str(item.alias) for model in models for item in model.model_fields.values()}
    nested = {"overlap", "retry", "backfill", "history"}
    settings = {SHARED.get(name, PREFIX + name.upper()) for name in OperatorSettings.model_fields}
    assert {name for name in (fields - nested) | settings if f"`{name}" not in text} == set()
