"""Which values of a config people see, and what of it a patch may hold."""

from __future__ import annotations

import json
from typing import Any

import pytest

from piko.model.config_schema import HIDDEN, patchable, shown_config

_SCHEMA = {
    "properties": {
        "pin": {"type": "string", "format": "password", "writeOnly": True},
        "hosts": {"items": {"properties": {"pin": {"writeOnly": True}}}},
    }
}


@pytest.mark.parametrize(
    ("config", "shown", "patch"),
    [
        ({"pin": "1", "rows": 5}, {"pin": HIDDEN, "rows": 5}, {"rows": 5}),
        ({"pin": None}, {"pin": None}, {"pin": None}),
        ({"api_key": "x", "db": {"password": "y", "port": 1}}, None, {"db": {"port": 1}}),
        ({"tokens": ["a", "b"], "names": ["a"]}, {"tokens": HIDDEN, "names": ["a"]}, {"names": ["a"]}),
        ({"hosts": [{"pin": "1", "name": "a"}]}, {"hosts": [{"pin": HIDDEN, "name": "a"}]}, {}),
        ({}, {}, {}),
    ],
)
def test_what_is_secret_is_not_shown_and_a_patch_leaves_it_alone(
    config: dict[str, Any], shown: dict[str, Any] | None, patch: dict[str, Any]
) -> None:
    found = shown_config(json.dumps(config), json.dumps(_SCHEMA))
    assert shown is None or found == shown
    assert patchable(config, found) == patch


def test_without_a_schema_names_say_what_is_secret() -> None:
    assert shown_config('{"password": "x", "rows": 1}', None) == {"password": HIDDEN, "rows": 1}
