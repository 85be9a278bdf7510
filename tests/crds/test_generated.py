"""`crds/` and the chart's copy are what the models of the operator say."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from crds.generate import FOLDERS, ROOT, files

from piko.model.managed import ManagedConfig, ManagedSchedule
from piko_operator.config_spec import JobConfigSpec
from piko_operator.field_types import SpecPart
from piko_operator.mapping import columns_of
from piko_operator.schedule_spec import ScheduleSpec

_GENERATED = files()


@pytest.mark.parametrize("path", _GENERATED, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_definition_is_what_the_models_say(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == _GENERATED[path], "run `make generate`"


def test_no_other_definition_lies_there() -> None:
    there = {path for folder in FOLDERS for path in folder.glob("*.yaml")}
    assert there == set(_GENERATED)


@pytest.mark.parametrize(
    ("spec", "row", "beside"),
    [
        (
            ScheduleSpec.model_validate({"jobId": "a", "schedule": {"cron": "@daily"}}),
            ManagedSchedule,
            {"schedule_type", "schedule_expr", "managed_by"},
        ),
        (
            JobConfigSpec.model_validate({"jobId": "a"}),
            ManagedConfig,
            {"secret_json", "updated_by", "managed_by"},
        ),
    ],
    ids=["schedule", "config"],
)
def test_each_column_that_a_resource_decides_has_one_field(
    spec: SpecPart, row: type[ManagedSchedule] | type[ManagedConfig], beside: set[str]
) -> None:
    columns = [name for name, _ in columns_of(spec)]
    assert sorted(columns) == sorted({item.name for item in fields(row)} - beside)
