"""What a handler returns: a dict is kept as JSON, within bounds, and never fails its run."""

from __future__ import annotations

from collections import UserDict
from typing import Any

import pytest

from piko.execution.results import LONGEST, kept_result


def kept(value: object, *, secrets: set[str] | None = None) -> str | None:
    return kept_result(value, {}, job_id="sync", run_id="r1", secrets=secrets or set())


@pytest.mark.parametrize(
    ("returned", "text"),
    [
        ({"rows": 3, "source": "\u00e9"}, '{"rows": 3, "source": "\u00e9"}'),
        (UserDict(rows=3), '{"rows": 3}'),
        ({"of": type(None)}, '{"of": "<class \'NoneType\'>"}'),
        ({"text": "\ud800"}, '{"text": "\\ud800"}'),
        ({}, None),
        (None, None),
        ("a text", None),
        ([1, 2], None),
    ],
)
def test_a_dict_is_kept_and_nothing_else(returned: Any, text: str | None) -> None:
    assert kept(returned) == text


@pytest.mark.parametrize(
    ("returned", "text"),
    [
        (None, '{"rows": 1}'),
        ("a text", '{"rows": 1}'),
        ({"rows": 2, "more": 3}, '{"rows": 2, "more": 3}'),
    ],
)
def test_what_was_recorded_is_kept_together_with_what_is_returned(returned: object, text: str) -> None:
    assert kept_result(returned, {"rows": 1}, job_id="sync", run_id="r1", secrets=set()) == text


@pytest.mark.parametrize(
    ("returned", "why"),
    [
        ({"nan": float("nan")}, "it is not JSON: ValueError"),
        ({(1, 2): 3}, "it is not JSON: TypeError"),
        ({"text": "x" * LONGEST}, f"bytes of JSON, and at most {LONGEST} are kept"),
    ],
)
def test_what_cannot_be_kept_says_why_in_its_place(returned: Any, why: str) -> None:
    assert why in str(kept(returned))


def test_secrets_are_hidden() -> None:
    assert kept({"url": "https://u:hunter2@host"}, secrets={"hunter2"}) == '{"url": "https://u:***@host"}'
