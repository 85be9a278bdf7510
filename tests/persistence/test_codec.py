"""Intents survive the way to disk and back, whatever they hold."""

from __future__ import annotations

import json
from collections import OrderedDict
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from math import isnan
from typing import cast
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, model_serializer

from piko.errors import PayloadError
from piko.persistence.codec import check_keepable, decode, encode, encode_unkeepable, model_name
from tests.persistence.writing import intent


class Line(BaseModel):
    sku: str
    price: Decimal
    photo: bytes = b""


class Order(BaseModel):
    id: int
    at: datetime
    lines: list[Line]


def there_and_back(payload: object) -> object:
    return decode("memory", encode(intent(1, payload)), {}).payload


_LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    | st.binary() | st.decimals(allow_nan=False) | st.uuids() | st.dates() | st.times()
    | st.datetimes() | st.datetimes(timezones=st.just(UTC))
)  # fmt: skip
_PAYLOADS = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(), inner)
        | st.dictionaries(st.integers() | st.sampled_from(["$bytes", "$model", "$dict", "$x"]), inner)
    ),
    max_leaves=8,
)


@given(_PAYLOADS)
def test_what_goes_to_disk_comes_back(payload: object) -> None:
    assert there_and_back(payload) == payload


def test_models_come_back_as_models_with_what_json_lacks() -> None:
    order = Order(
        id=1, at=datetime(2026, 1, 1, tzinfo=UTC), lines=[Line(sku="a", price=Decimal("9.90"), photo=b"\xff")]
    )
    assert there_and_back(order) == order
    assert there_and_back([order, {"order": order}]) == [order, {"order": order}]


def test_the_rest_of_an_intent_comes_back_too() -> None:
    before = intent(
        "ключ", {"a": timedelta(seconds=1.5), "b": time(1, 2), "c": date(2026, 1, 1), "d": UUID(int=7)}
    )
    assert decode("memory", encode(before), {}) == before


def test_a_model_of_a_program_that_was_started_otherwise_is_found_among_those_of_the_sink() -> None:
    body = encode(intent(1, Line(sku="a", price=Decimal(1)))).replace(Line.__module__, "no_such_module")
    with pytest.raises(PayloadError, match="that Pydantic model no longer exists"):
        decode("memory", body, {})
    assert decode("memory", body, {model_name(Line): Line}).payload == Line(sku="a", price=Decimal(1))


def test_a_file_cannot_name_anything_but_a_model() -> None:
    body = encode(intent(1, Line(sku="a", price=Decimal(1)))).replace(model_name(Line), "os:system")
    with pytest.raises(PayloadError, match="os:system, and that Pydantic model no longer exists"):
        decode("memory", body, {})


class State(StrEnum):
    DONE = "done"


class Name(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("payload", "comes_back_as"),
    [
        ({"a": float("inf")}, {"a": float("inf")}),
        ({"a": 10**6_000, "b": [-(10**6_000)]}, {"a": 10**6_000, "b": [-(10**6_000)]}),
        ({"a": "\ud800", "b\udfff": 1}, {"a": "\ud800", "b\udfff": 1}),
        ({"state": State.DONE, "name": Name("x")}, {"state": "done", "name": "x"}),
        (OrderedDict(a=1, b=(1, 2)), {"a": 1, "b": [1, 2]}),
        (["\0"], ["\0"]),
    ],
)
def test_what_json_lacks_comes_back_all_the_same(payload: object, comes_back_as: object) -> None:
    check_keepable(intent(1, payload), {})
    assert there_and_back(payload) == comes_back_as
    encode(intent(1, payload)).encode()  # as a file takes it


def test_what_is_no_number_comes_back_as_none_either() -> None:
    (back,) = cast("list[float]", there_and_back([float("nan")]))
    assert isnan(back)


def cyclic() -> list[object]:
    itself: list[object] = []
    itself.append(itself)
    return itself


def nested(levels: int) -> object:
    payload: object = 1
    for _ in range(levels):
        payload = {"a": payload, "b": 1}
    return payload


class Rude(BaseModel):
    n: int

    @model_serializer
    def serialize(self) -> dict[str, int]:
        raise ZeroDivisionError("in the model's own code")


def local_model() -> BaseModel:
    class Local(BaseModel):
        n: int

    return Local(n=1)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"a": {1, 2}}, r"intent '1' for sink 'memory': a payload holds a builtins.set"),
        ({1, 2}, "a payload holds a builtins.set"),
        ((n for n in range(3)), "a payload holds a builtins.generator"),
        (cyclic(), "nested more than 100 levels deep, or contains itself"),
        (nested(101), "nested more than 100 levels deep"),
        (nested(5_000), "nested more than 100 levels deep"),
        ([Rude(n=1)], "ZeroDivisionError: in the model's own code"),
        (local_model(), "could not be read back from disk: no import finds that class"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name(payload: object, message: str) -> None:
    with pytest.raises(PayloadError, match=message):
        encode(intent(1, payload))
    with pytest.raises(PayloadError, match=message):
        check_keepable(intent(1, payload), {})


def test_an_intent_whose_names_are_no_texts_is_refused() -> None:
    named = intent(1, {"n": 1})
    named.run_id = 5  # type: ignore[assignment]
    with pytest.raises(PayloadError, match="key, job_id and run_id must be str"):
        check_keepable(named, {})


@pytest.mark.parametrize("payload", [{1, 2}, cyclic(), [10**6_000], ["\ud800"]])
def test_what_cannot_be_kept_is_named_in_a_dead_letter(payload: object) -> None:
    body = encode_unkeepable(intent("k", payload))
    body.encode()
    assert json.loads(body)[:3] == ["k", "load", "r1"]
    with pytest.raises(PayloadError, match="its payload could not be kept on disk"):
        decode("memory", body, {})
