"""Intents survive the way to disk and back, whatever they hold."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from piko.errors import PayloadError
from piko.persistence.codec import decode, encode, model_name
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
    with pytest.raises(PayloadError, match="there is no such Pydantic model now"):
        decode("memory", body, {})
    assert decode("memory", body, {model_name(Line): Line}).payload == Line(sku="a", price=Decimal(1))


def test_a_file_cannot_name_anything_but_a_model() -> None:
    body = encode(intent(1, Line(sku="a", price=Decimal(1)))).replace(model_name(Line), "os:system")
    with pytest.raises(PayloadError, match="os:system, and there is no such Pydantic model"):
        decode("memory", body, {})


def test_what_cannot_be_kept_is_refused_by_name() -> None:
    with pytest.raises(PayloadError, match=r"intent '1' for sink 'memory': a payload holds a builtins.set"):
        encode(intent(1, {"a": {1, 2}}))
