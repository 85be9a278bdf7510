"""Intents as text and back: JSON with a few tags, never pickle.

A value that JSON lacks (bytes, instants, decimals, Pydantic models) is written as an object with one entry,
whose name begins with `$`. A user's own object that looks like a tag is written as a list of pairs, so that
the two are never confused. Tuples come back as lists, members of an enumeration as their values, and
instances of subclasses of str, int, float, list or dict as the plain type.

Every payload is checked when it is enqueued, for every sink: any sink may fail at any time, and its intents
then go to disk.
"""

from __future__ import annotations

import base64
import importlib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from math import isfinite
from types import MappingProxyType
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from piko.errors import PayloadError
from piko.persistence.intent import WriteIntent
from piko.text import error_text, excerpt

Models = Mapping[str, type[BaseModel]]
"""Pydantic models by the name that `model_name` gives them."""

_PLAIN = frozenset((str, int, float, bool, type(None)))
_KEPT = _PLAIN | {bytes, date, datetime, time, timedelta, Decimal, UUID}
_SMALL = frozenset((int, float, bool, type(None)))
_ITEM_BYTES = 16
_STRINGS = frozenset((str,))
_DEEPEST = 100
"""Levels of lists and objects in a payload; databases and pages have to process them too."""
_LONGEST_REPR = 2_000
_LONGEST_INT = 10_000
"""Bits; Python converts at most about 14,000 bits to and from digits."""
# Made once, because this is the hot path. NaN and infinities are not JSON, so they get tags.
_write = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
_write_ascii = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def encode(intent: WriteIntent, models: Models = MappingProxyType({})) -> str:
    """The intent as one line of text. Raises `PayloadError` if it could not be read back."""
    try:
        try:
            return _line(intent, _Packer(models=models).pack(intent.payload))
        except ValueError:  # NaN, an infinity, or an integer with very many digits
            return _line(intent, _Packer(models=models, exactly=True).pack(intent.payload))
    except PayloadError as error:
        raise PayloadError(f"{_named(intent)}: {error}") from None
    except Exception as error:  # comparing and serializing may run the job's own code
        raise PayloadError(f"{_named(intent)}: cannot be kept on disk: {error_text(error)}") from error


def encode_unkeepable(intent: WriteIntent) -> str:
    """The dead letter of an intent that `encode` refuses: its names and the repr of its payload."""
    try:
        shown = repr(intent.payload)
    except Exception as error:  # noqa: BLE001 - the class is user code
        shown = f"(its repr failed: {error_text(error)})"
    plain = [excerpt(str(each), limit=_LONGEST_REPR) for each in (intent.key, intent.job_id, intent.run_id)]
    return _write_ascii([*plain, str(intent.scheduled_time), {"$repr": excerpt(shown, limit=_LONGEST_REPR)}])


def check_keepable(intent: WriteIntent, models: Models) -> None:
    """Raise the `PayloadError` that `encode` would raise; cheap for flat payloads."""
    payload = intent.payload
    kind = type(payload)
    if kind is dict:
        kept = _KEPT.issuperset(map(type, payload.values())) and _STRINGS.issuperset(map(type, payload))
    elif isinstance(payload, BaseModel):
        fields = payload.__dict__.values()
        kept = _KEPT.issuperset(map(type, fields)) and not payload.model_extra and _importable(type(payload))
    else:
        kept = kind in _KEPT
    if not (kept and type(intent.key) is type(intent.job_id) is type(intent.run_id) is str):
        encode(intent, models)


def _line(intent: WriteIntent, payload: Any) -> str:
    head = (intent.key, intent.job_id, intent.run_id)
    if not _STRINGS.issuperset(map(type, head)):
        raise PayloadError("key, job_id and run_id must be str")
    parts = [*head, intent.scheduled_time.isoformat(), payload]
    text = _write(parts)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:  # a lone surrogate, which UTF-8 cannot encode
            return _write_ascii(parts)
    return text


def _named(intent: WriteIntent) -> str:
    return f"intent {excerpt(repr(intent.key), limit=200)} for sink {intent.sink!r}"


def decode(sink: str, body: str, models: Models) -> WriteIntent:
    """The intent that `encode` wrote. Raises `PayloadError` if its model no longer exists."""
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
    """A copy equal to `decode(encode(intent))` if a shallow copy is; otherwise None.

    The handler may change its payload later; an acknowledged intent must not change with it.
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
    """The approximate size of `payload` as text, in bytes, without encoding it."""
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


def packed(value: Any) -> Any:
    """`value` as JSON with tags. Raises `PayloadError`."""
    return _Packer(exactly=True).pack(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Packer:
    """Converts values to JSON. `exactly` tags numbers that JSON lacks, which takes longer."""

    exactly: bool = False
    models: Models | None = None
    """Models that are known without an import; None if no model has to be read back."""

    def pack(self, value: Any, depth: int = 0) -> Any:
        kind = type(value)
        if kind in _PLAIN:
            return _exact(value) if self.exactly else value
        if depth >= _DEEPEST:
            raise PayloadError(f"a payload is nested more than {_DEEPEST} levels deep, or contains itself")
        if isinstance(value, dict):
            return self._dict(value, depth + 1)
        if isinstance(value, list | tuple):
            return [self.pack(item, depth + 1) for item in value]
        if isinstance(value, BaseModel):
            return {"$model": [self._name(kind), self.pack(value.model_dump(), depth + 1)]}
        return self._tagged(value, depth)

    def _tagged(self, value: Any, depth: int) -> Any:
        if isinstance(value, Enum):
            return self.pack(value.value, depth + 1)
        for tag, (of, write, _) in _TAGS.items():
            if isinstance(value, of):
                return {tag: write(value)}
        for plain in (str, int, float):
            if isinstance(value, plain):
                return self.pack(plain(value), depth)
        kind = type(value)
        raise PayloadError(
            f"a payload holds a {kind.__module__}.{kind.__qualname__}, which cannot be kept on disk; "
            "expected JSON values, bytes, datetime, date, time, timedelta, Decimal, UUID, or Pydantic models "
            "of these"
        )

    def _dict(self, value: dict[Any, Any], depth: int) -> dict[str, Any]:
        if not self.exactly and type(value) is dict and _is_flat(value):
            return value
        named = all(type(name) is str for name in value)
        if named and not (len(value) == 1 and next(iter(value)).startswith("$")):
            return {name: self.pack(item, depth) for name, item in value.items()}
        return {"$dict": [[self.pack(name, depth), self.pack(item, depth)] for name, item in value.items()]}

    def _name(self, model: type[BaseModel]) -> str:
        name = model_name(model)
        if self.models is None or name in self.models or _importable(model):
            return name
        raise PayloadError(
            f"a payload is a {name}, which could not be read back from disk: no import finds that class; "
            "define the model at the top level of a module, or enqueue its `model_dump()`"
        )


@lru_cache(maxsize=512)
def _importable(model: type[BaseModel]) -> bool:
    return _imported(model_name(model)) is model


def _exact(value: Any) -> Any:
    if type(value) is float and not isfinite(value):
        return {"$float": repr(value)}
    if type(value) is int and value.bit_length() > _LONGEST_INT:
        return {"$int": hex(value)}
    return value


def _is_flat(value: dict[Any, Any]) -> bool:
    """Whether `value` is JSON without conversion: str keys, plain values, and nothing like a tag."""
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
        if tag == "$repr":
            raise PayloadError("its payload could not be kept on disk; delete it with `piko spool drop`")
        if tag in _NUMBERS:
            return _NUMBERS[tag](inner)
        if tag in _TAGS:
            return _TAGS[tag][2](inner)
    elif _is_flat(value):
        return value
    return {name: _unpack(item, models) for name, item in value.items()}


def _model(name: str, models: Models) -> type[BaseModel]:
    """The model called `name`. Only a Pydantic model is ever returned, whatever the file contains."""
    if name in models:
        return models[name]
    found = _imported(name)
    if isinstance(found, type) and issubclass(found, BaseModel):
        return found
    qualified = name.partition(":")[2]
    for known in models.values():  # `python app.py` calls the module __main__, `piko run` calls it app
        if known.__qualname__ == qualified:
            return known
    raise PayloadError(
        f"a payload was written as {name}, and that Pydantic model no longer exists; restore it and replay "
        "the intent, or drop the intent: `piko spool`"
    )


def _imported(name: str) -> Any:
    """The class that `model_name` gives this name; None if it cannot be imported."""
    module, _, qualified = name.partition(":")
    try:
        found: Any = sys.modules.get(module) or importlib.import_module(module)
        for part in qualified.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return None
    return found


_TAGS: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "$bytes": (bytes, lambda value: base64.b64encode(value).decode(), base64.b64decode),
    "$datetime": (datetime, datetime.isoformat, datetime.fromisoformat),
    "$date": (date, date.isoformat, date.fromisoformat),
    "$time": (time, time.isoformat, time.fromisoformat),
    "$seconds": (timedelta, timedelta.total_seconds, lambda value: timedelta(seconds=value)),
    "$decimal": (Decimal, str, Decimal),
    "$uuid": (UUID, str, UUID),
}
_NUMBERS: dict[str, Callable[[str], Any]] = {"$float": float, "$int": lambda text: int(text, 16)}
