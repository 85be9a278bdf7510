"""However deep an answer nests, it can be read, and nothing else of it is lost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piko_operator.nesting import LEVELS, read_answer, shallow

_VALUES = st.recursive(
    st.none() | st.integers() | st.text(st.sampled_from('{}[]"\\a,:\n'), max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=40,
)


def _wrapped(value: object, levels: int) -> object:
    for _ in range(levels):
        value = {"a": [value]}
    return value


@given(_VALUES)
def test_what_is_not_too_deep_stays_as_it_is(value: object) -> None:
    text = json.dumps([value] * (LEVELS + 1)).encode()
    assert shallow(text) == text


@given(_VALUES)
def test_only_what_is_too_deep_becomes_null(value: object) -> None:
    text = json.dumps({"before": value, "deep": _wrapped(value, LEVELS), "after": value}).encode()
    found = json.loads(shallow(text))
    assert (found["before"], found["after"]) == (value, value)
    assert _depth(found) <= LEVELS


@pytest.mark.parametrize("levels", [101, 2_000, 9_999, 200_000])
def test_no_depth_ends_the_reader(levels: int) -> None:
    text = b'{"items":[{"a":' + b"[" * levels + b"]" * levels + b'},{"b":"]}{["}]}'
    found = read_answer(text)
    assert found["items"][1] == {"b": "]}{["}


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0
