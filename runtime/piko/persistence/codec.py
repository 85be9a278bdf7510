"""Intents as text and back: JSON with a few tags, never pickle.

What JSON lacks is an object of one entry whose name begins with `$`: bytes, instants, decimals, Pydantic
models. An object of the user's own that looks like one is written as a list of pairs, so that nothing is
mistaken. Tuples come back as lists.
"""

from __future__ import annotations

import base64
import importlib
import json
import sys
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from piko.errors import PayloadError
from piko.persistence.intent import WriteIntent

Models = Mapping[str, type[BaseModel]]
"""Pydantic models by the name that `model_name` gives them."""

_PLAIN = frozenset((str, int, float, bool, type(None)))
_SMALL = frozenset((int, float, bool, type(None)))
_ITEM_BYTES = 16
_STRINGS = frozenset((str,))
_write = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode  # made once: it is the hot path


def encode(intent: WriteIntent) -> str:
    """The intent as one line of text. Raises `PayloadError` for a payload that would not come back."""
    try:
        payload = pack(intent.payload)
    except PayloadError as error:
        raise PayloadError(f"intent {intent.key!r} for sink {intent.sink!r}: {error}") from None
    return _write([intent.key, intent.job_id, intent.run_id, intent.scheduled_time.isoformat(), payload])


def decode(sink: str, body: str, models: Models) -> WriteIntent:
    """The intent that `encode` wrote. Raises `PayloadError` where its model is not there any more."""
    key, job_id, run_id, scheduled_time, payload = json.loads(body)
    return WriteIntent(
        sink=sink,
        key=key,
        payload=_unpack(payload, models),
        job_id=job_id,
        run_id=run_id,
        scheduled_time=datetime.fromisoformat(scheduled_time),
    )


def detached(intent: WriteIntent) -> WriteIntent | None:
    """What `decode` would make of what `encode` writes, where a copy says the same; else None.

    The handler may change its payload afterwards; what was acknowledged must not change with it.
    """
    payload = intent.payload
    if type(payload) is dict and _is_flat(payload):
        payload = dict(payload)
    elif type(payload) not in _PLAIN:
        return None
    return WriteIntent(
        sink=intent.sink,
        key=intent.key,
        payload=payload,
        job_id=intent.job_id,
        run_id=intent.run_id,
        scheduled_time=intent.scheduled_time,
    )


def weight(payload: Any) -> int:
    """About how many bytes `payload` takes as text, found without writing it."""
    kind = type(payload)
    if kind is str or kind is bytes:
        return len(payload)
    if kind is dict:
        return sum(
            _ITEM_BYTES + (weight(item) if type(item) not in _SMALL else 0) for item in payload.values()
        )
    if kind is list or kind is tuple:
        return sum(map(weight, payload))
    if isinstance(payload, BaseModel):
        return weight(payload.__dict__)
    return _ITEM_BYTES


def model_name(model: type[BaseModel]) -> str:
    return f"{model.__module__}:{model.__qualname__}"


def pack(value: Any) -> Any:
    """`value` as JSON with tags. Raises `PayloadError`."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is dict:
        if _is_flat(value):
            return value
        named = all(type(name) is str for name in value)
        if named and not (len(value) == 1 and next(iter(value)).startswith("$")):
            return {name: pack(item) for name, item in value.items()}
        return {"$dict": [[pack(name), pack(item)] for name, item in value.items()]}
    if kind is list or kind is tuple:
        return [pack(item) for item in value]
    if isinstance(value, BaseModel):
        return {"$model": [model_name(kind), pack(value.model_dump())]}
    for tag, (of, write, _) in _TAGS.items():
        if kind is of:
            return {tag: write(value)}
    raise PayloadError(
        f"a payload holds a {kind.__module__}.{kind.__qualname__}, which cannot be kept on disk; expected "
        "JSON values, bytes, datetime, date, time, timedelta, Decimal, UUID, or Pydantic models of these"
    )


def _is_flat(value: dict[Any, Any]) -> bool:
    """Whether JSON says the same of `value` as it is: names, plain values, and nothing like a tag."""
    if len(value) == 1:
        return False
    return _STRINGS.issuperset(map(type, value)) and _PLAIN.issuperset(map(type, value.values()))


def _unpack(value: Any, models: Models) -> Any:
    if isinstance(value, list):
        return [_unpack(item, models) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((tag, inner),) = value.items()
        if tag == "$dict":
            return {_unpack(name, models): _unpack(item, models) for name, item in inner}
        if tag == "$model":
            return _model(inner[0], models).model_validate(_unpack(inner[1], models))
        if tag in _TAGS:
            return _TAGS[tag][2](inner)
    elif _is_flat(value):
        return value
    return {name: _unpack(item, models) for name, item in value.items()}


def _model(name: str, models: Models) -> type[BaseModel]:
    """The model called `name`; only what is a model is ever returned, whatever the file says."""
    if name in models:
        return models[name]
    module, _, qualified = name.partition(":")
    try:
        found: Any = sys.modules.get(module) or importlib.import_module(module)
        for part in qualified.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        found = None
    if isinstance(found, type) and issubclass(found, BaseModel):
        return found
    for known in models.values():  # `python app.py` calls the module __main__, `piko run` calls it app
        if known.__qualname__ == qualified:
            return known
    raise PayloadError(
        f"a payload was written as {name}, and there is no such Pydantic model now; bring it back and replay "
        "the intent, or drop it: `piko spool`"
    )


_TAGS: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "$bytes": (bytes, lambda value: base64.b64encode(value).decode(), base64.b64decode),
    "$datetime": (datetime, datetime.isoformat, datetime.fromisoformat),
    "$date": (date, date.isoformat, date.fromisoformat),
    "$time": (time, time.isoformat, time.fromisoformat),
    "$seconds": (timedelta, timedelta.total_seconds, lambda value: timedelta(seconds=value)),
    "$decimal": (Decimal, str, Decimal),
    "$uuid": (UUID, str, UUID),
}
