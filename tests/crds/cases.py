"""The table of manifests, as parameters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

_TABLE: dict[str, list[dict[str, Any]]] = yaml.safe_load(
    (Path(__file__).parent / "manifests.yaml").read_text(encoding="utf-8")
)
_KINDS = {"schedules": "PikoSchedule", "configs": "PikoJobConfig", "backfills": "PikoBackfill"}

CASES = [(_KINDS[table], case) for table, cases in _TABLE.items() for case in cases]
IDS = [case["name"] for _, case in CASES]


def manifest(kind: str, spec: Mapping[str, Any], *, name: str = "example") -> str:
    document = {"apiVersion": "piko.dev/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    return yaml.safe_dump(document)
