"""What is no config is refused with its place, and with nothing of its content."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piko.json_object import check_json, read_object
from tests.poisons import HARMLESS, POISONS, Poison


@pytest.mark.parametrize("poison", POISONS, ids=str)
def test_a_poison_is_refused_in_a_short_sentence(poison: Poison) -> None:
    with pytest.raises(ValueError) as refusal:
        read_object(poison.text)
    assert poison.said in str(refusal.value)
    assert len(str(refusal.value)) < 500


@pytest.mark.parametrize("text", HARMLESS, ids=lambda text: text[:20])
def test_what_is_only_odd_is_taken_and_can_be_written_again(text: str) -> None:
    value = read_object(text)
    assert value == json.loads(text)
    assert read_object(json.dumps(value, ensure_ascii=False, allow_nan=False)) == value


def test_no_value_is_part_of_what_is_said() -> None:
    for text in ('{"k": "hunter2", "a": NaN}', '{"k": "hunter2"', '["hunter2"]', '{"k": "hunter2\\ud800"}'):
        with pytest.raises(ValueError) as refusal:
            read_object(text)
        assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"a": [1, float("nan")]}, r"a\[1\] is NaN"),
        ({1: 2}, "has a key that is no text"),
        ({"a": {"b": b"x"}}, "a.b is of the type bytes"),
        ({"a": 10**5000}, "a is a number of more than 300 digits"),
    ],
)
def test_values_that_were_read_otherwise_are_held_to_the_same(value: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_json(value)


@pytest.mark.usefixtures("slow")
def test_what_repeats_itself_ends() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(ValueError, match="nests deeper than 31 levels"):
        check_json({"a": circle})
    bomb: list[Any] = ["x"]
    for _ in range(25):
        bomb = [bomb] * 10
    with pytest.raises(ValueError, match="holds more than 500000 values"):
        check_json({"a": bomb})


@given(st.text(max_size=40) | st.text('{}[]",:0123456789.eE-+aNIu\\dtrue \n', max_size=60))
def test_any_text_is_an_object_or_a_refusal(text: str) -> None:
    try:
        value = read_object(text)
    except ValueError:
        return
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
