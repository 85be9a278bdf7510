"""YAML scalars, typed as kubectl types them: `yes` is a boolean, `010` is eight, `12:30:00` is text.

kubectl parses through sigs.k8s.io/yaml, whose types follow neither YAML 1.1, as PyYAML does, nor 1.2. A
scalar that is accepted here has the type that it has on the API server. A number that no server can hold is
refused; kubectl would silently turn it into text.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import struct
from collections.abc import Mapping
from decimal import Decimal

Scalar = str | int | float | bool | None

_CORE = "tag:yaml.org,2002:"
_RESOLVED = {f"{_CORE}{name}": name for name in ("str", "bool", "int", "float", "null", "timestamp")}
_BINARY = f"{_CORE}binary"

_PLAIN: Mapping[str, tuple[str, Scalar]] = {
    word: (kind, value)
    for kind, value, words in (
        ("bool", True, "y Y yes Yes YES true True TRUE on On ON"),
        ("bool", False, "n N no No NO false False FALSE off Off OFF"),
        ("null", None, "~ null Null NULL"),
        ("float", math.nan, ".nan .NaN .NAN"),
        ("float", math.inf, ".inf .Inf .INF +.inf +.Inf +.INF"),
        ("float", -math.inf, "-.inf -.Inf -.INF"),
    )
    for word in words.split()
} | {"": ("null", None)}

_INTEGER = re.compile(
    r"(?P<sign>[-+]?)(?:0[xX](?P<x>[0-9a-fA-F]+)|0[bB](?P<b>[01]+)|0[oO](?P<o>[0-7]+)|(?P<n>[0-9]+))"
)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_FRACTION = re.compile(r"\.[0-9]+(_[0-9]+)*([eE][-+]?[0-9]+(_[0-9]+)*)?")
_TIMESTAMP = re.compile(
    r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ][0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}(\.[0-9]+)?(Z|[-+][0-9:]{5})?)?"
)
_LEAST, _MOST, _MOST_UNSIGNED = -(2**63), 2**63 - 1, 2**64 - 1
_MOST_DIGITS = 400
"""More digits than any 64-bit number has, integer or floating-point."""


def scalar(text: str, *, tag: str | None, plain: bool) -> Scalar:
    """The value of a scalar as the API server receives it; `plain`: without quotes and without a tag.

    Raises `ValueError` if JSON cannot represent it, or if it does not match its tag.
    """
    return _as_json(_typed(text, tag=tag, plain=plain), text)


def key(text: str, *, tag: str | None, plain: bool) -> str:
    """A scalar as the key of an object, which is text in JSON. Raises `ValueError` if it cannot be a key."""
    return key_text(_typed(text, tag=tag, plain=plain))


def key_text(value: Scalar) -> str:
    """A value as the key of an object. Raises `ValueError` if it cannot be a key."""
    if value is None:
        raise ValueError("the key is empty (null); quote it")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float) and abs(value) > _MOST and math.isfinite(value):
        raise ValueError("the key is a number beyond 64 bits; quote it")
    return _float_key(value) if isinstance(value, float) else str(value)


def _typed(text: str, *, tag: str | None, plain: bool) -> Scalar:
    if tag == _BINARY:
        return _binary(text)
    if tag is None and not plain:
        return text
    wanted = None if tag is None else _RESOLVED.get(tag)
    if wanted == "str" or (tag is not None and wanted is None):
        return text
    kind, value = _resolved(text, wanted)
    if wanted == "float" and kind == "int":
        kind = "float"
    if wanted not in (None, kind):
        raise ValueError(f"{_short(text)} is not of the type {wanted} that its tag states")
    return value


def _resolved(text: str, wanted: str | None) -> tuple[str, Scalar]:
    if text in _PLAIN:
        return _PLAIN[text]
    if wanted == "timestamp":
        return ("timestamp" if _TIMESTAMP.fullmatch(text) else "str"), text
    first = text[0]
    if first == ".":
        return ("float", float(text)) if _FRACTION.fullmatch(text) else ("str", text)
    if first in "+-0123456789":
        return _number(text.replace("_", ""), text)
    return "str", text


def _number(digits: str, text: str) -> tuple[str, Scalar]:
    whole, floating = _INTEGER.fullmatch(digits), _FLOAT.fullmatch(digits)
    if (whole or floating) and len(digits) > _MOST_DIGITS:
        raise ValueError(_too_large(text))
    if whole:
        value = _whole(whole)
        if value is not None and _LEAST <= value <= (_MOST if whole["sign"] else _MOST_UNSIGNED):
            return "int", value
    if not floating:
        return "str", text
    if not math.isfinite(number := float(digits)):
        raise ValueError(_too_large(text))
    return "float", number


def _whole(found: re.Match[str]) -> int | None:
    digits, base = next(
        (found[name], base) for name, base in (("x", 16), ("b", 2), ("o", 8), ("n", 10)) if found[name]
    )
    if base == 10 and len(digits) > 1 and digits[0] == "0":
        if not re.fullmatch("[0-7]+", digits):
            return None  # 08 is not octal; it is parsed as a float
        base = 8
    return int(found["sign"] + digits, base)


def _as_json(value: Scalar, text: str) -> Scalar:
    """A number as the server receives it in JSON: a 64-bit integer, otherwise a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{_short(text)} is not a finite number, which JSON requires; quote or remove it")
    if isinstance(value, int):
        return value if _LEAST <= value <= _MOST else float(value)
    if value.is_integer() and abs(value) < 1e21:  # then it is sent as the fewest digits that identify it
        whole = int(Decimal(repr(value)))
        return whole if _LEAST <= whole <= _MOST else value
    return value


def _too_large(text: str) -> str:
    size = f", a number of {len(text)} characters," if len(text) > 40 else ""
    return (
        f"{_short(text)}{size} is larger than any number that the API server accepts; quote it if it is text"
    )


def _binary(text: str) -> str:
    try:
        return base64.b64decode(re.sub(r"[\r\n]", "", text), validate=True).decode("utf-8", errors="replace")
    except binascii.Error:
        raise ValueError("!!binary is not base64") from None


def _float_key(value: float) -> str:
    """The fewest digits that give the same 32-bit float, as kubectl writes keys."""
    if not math.isfinite(value):
        return ".nan" if math.isnan(value) else (".inf" if value > 0 else "-.inf")
    narrow = _narrowed(value)
    count = next(count for count in range(17) if _narrowed(float(f"{narrow:.{count}e}")) == narrow)
    scientific = f"{narrow:.{count}e}"
    exponent = int(scientific.partition("e")[2])
    return scientific if exponent < -4 or exponent >= 6 else f"{narrow:.{max(count - exponent, 0)}f}"


def _narrowed(value: float) -> float:
    (narrow,) = struct.unpack("f", struct.pack("f", value))
    return float(narrow)


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
