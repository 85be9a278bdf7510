"""JSON objects that people write, and how much of one is taken.

A config reaches Piko out of a file, a resource, a Secret or a row that somebody edited by SQL. What Python's
reader lets pass, or dies of, is more than the database and other programs take: `NaN`, half a surrogate
pair, a number of 5,000 digits, 2,000 levels. Each of these is refused here, in all four places by the same
rule and with the same words, at the place where it stands; a value is never part of the words, for it may be
secret.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from piko.text import excerpt

LEVELS = 31
"""Objects and lists in each other: more of them MariaDB takes for no JSON."""
BYTES = 1_048_576
"""Of one object as UTF-8: what a Kubernetes Secret may hold."""
VALUES = 500_000
"""In one object, with what YAML's aliases repeat."""
_BITS = 1_000
_DIGITS = 300
_PATH = 200

_TOO_LONG = f"is a number of more than {_DIGITS} digits; write it as a text"
_NO_NUMBER = "is NaN or infinite, which is no number in JSON; leave it out, or write it as a text"
_NO_TEXT = "holds half of a surrogate pair, which is no character; correct the text"

_Place = tuple[Any, str | int] | None
"""The place of the container, and the key or index in it; None at the top."""


@dataclass(frozen=True, slots=True)
class _Unusable:
    """Stands where the reader met what cannot be a value."""

    why: str


def read_object(text: str) -> dict[str, Any]:
    """The object in `text`. Raises `ValueError` that says what is wrong and where, without a value."""
    if (size := len(text.encode(errors="surrogatepass"))) > BYTES:
        raise ValueError(f"has {size} bytes; expected at most {BYTES}")
    try:
        value = json.loads(
            text, parse_int=_integer, parse_float=_float, parse_constant=lambda _: _Unusable(_NO_NUMBER)
        )
    except json.JSONDecodeError as error:
        raise ValueError(
            f"is not JSON: {error.msg[:1].lower()}{error.msg[1:]}, line {error.lineno}, "
            f"column {error.colno}; expected an object"
        ) from None
    except RecursionError:
        raise ValueError(_too_deep(LEVELS)) from None
    check_json(value)
    if not isinstance(value, dict):
        kind = _NAMES.get(type(value), "number")
        raise ValueError(f"is a JSON {kind}; expected an object")  # noqa: TRY004 as all refusals here
    return value


def check_json(value: object, *, levels: int = LEVELS, values: int = VALUES) -> None:
    """Raises `ValueError` for what JSON, a database or another program could not take back."""
    visited = 0
    waiting: list[tuple[object, _Place, int]] = [(value, None, 1)]
    while waiting:
        item, place, level = waiting.pop()
        visited += 1
        if visited > values:
            raise ValueError(
                f"holds more than {values} values; store large data outside the config and refer to it"
            )
        if why := _why_not(item):
            raise ValueError(_at(place, why))
        if not isinstance(item, dict | list):
            continue
        if level > levels:
            raise ValueError(_at(_outer(place), _too_deep(levels)))
        for key, inner in item.items() if isinstance(item, dict) else enumerate(item):
            if isinstance(item, dict) and (why := _why_no_key(key)):
                raise ValueError(_at(place, why))
            waiting.append((inner, (place, key), level + 1))


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `over` before it; objects are merged, anything else is replaced."""
    found = dict(base)
    for key, value in over.items():
        before = found.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            found[key] = merged(before, value)
        else:
            found[key] = value
    return found


def _why_not(value: object) -> str | None:
    match value:
        case _Unusable():
            return value.why
        case str():
            return None if _is_text(value) else _NO_TEXT
        case bool() | None | dict() | list():
            return None
        case int():
            return _TOO_LONG if value.bit_length() > _BITS else None
        case float():
            return None if math.isfinite(value) else _NO_NUMBER
    return f"is of the type {type(value).__name__}, which JSON does not have; write it as a text"


def _why_no_key(key: object) -> str | None:
    if not isinstance(key, str):
        return "has a key that is no text; put it in quotes"
    return None if _is_text(key) else "has a key that " + _NO_TEXT


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _integer(digits: str) -> int | _Unusable:
    return int(digits) if len(digits) <= _DIGITS else _Unusable(_TOO_LONG)


def _float(digits: str) -> float | _Unusable:
    number = float(digits)
    return number if math.isfinite(number) else _Unusable(_NO_NUMBER)


def _too_deep(levels: int) -> str:
    return f"nests deeper than {levels} levels; make it flatter"


def _at(place: _Place, why: str) -> str:
    keys: list[str | int] = []
    while place is not None:
        place, key = place
        keys.append(key)
    path = ""
    for key in reversed(keys):
        path += f"[{key}]" if isinstance(key, int) else f".{key}" if path else key
    return f"{excerpt(path, limit=_PATH)} {why}" if path else why


def _outer(place: _Place) -> _Place:
    """Only the topmost key: 31 keys in a row are unreadable."""
    while place is not None and place[0] is not None:
        place = place[0]
    return place


_NAMES = {dict: "object", list: "list", str: "text", bool: "boolean", type(None): "null"}
