"""A misspelt key is found by the schema that a replica has published, too."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from piko.model.schema_keys import key_warning


class Target(BaseModel):
    table: str = ""


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")


class Sweep(BaseModel):
    concurrency: int = 1
    main: Target | None = None
    targets: list[Target] = []
    either: Target | Open | None = None
    anything: dict[str, int] = {}
    open: Open = Open()


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"concurency": 1}, "concurency: the published schema has no such key; did you mean `concurrency`?"),
        ({"main": {"tabel": 1}}, "main.tabel: the published schema has no such key; did you mean `table`?"),
        ({"targets": [{}, {"x": 1}]}, "targets.1.x: the published schema has no such key"),
        ({"either": {"x": 1}, "anything": {"x": 1}, "open": {"x": 1}}, None),
        ({"main": None, "concurrency": 1}, None),
    ],
)
def test_a_key_that_the_schema_lacks_is_reported(document: Any, said: str | None) -> None:
    assert key_warning(Sweep.model_json_schema(), document) == said
