"""What one tenant can put into a config, and nobody else may feel.

One corpus for the operator (Secrets, specs), the runtime (rows written by SQL) and the offline readers
(files). Each entry is a text as somebody writes it, and part of what is said of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from piko.json_object import BYTES


@dataclass(frozen=True, slots=True)
class Poison:
    """`text` stands where a JSON object is expected; `said` is part of the refusal."""

    name: str
    text: str
    said: str
    slow: bool = False
    """Whether to read it takes seconds."""

    def __str__(self) -> str:
        return self.name


def nested(levels: int) -> str:
    """An object with `levels` levels."""
    return '{"a":' * levels + "1" + "}" * levels


_LISTS = '{"a":' + "[" * 2_000 + "]" * 2_000 + "}"
_WIDE = '{"a":[' + ",".join("0" * 600_000) + "]}"

POISONS: tuple[Poison, ...] = (
    Poison("one level too deep", nested(32), "a nests deeper than 31 levels"),
    Poison("2,000 objects deep", nested(2_000), "nests deeper than 31 levels"),
    Poison("2,000 lists deep", _LISTS, "nests deeper than 31 levels"),
    Poison("9,000 deep", nested(9_000), "nests deeper than 31 levels"),
    Poison("100,000 lists deep", "[" * 100_000 + "]" * 100_000, "nests deeper than 31 levels"),
    Poison("NaN", '{"a": NaN}', "a is NaN or infinite"),
    Poison("NaN in a list", '{"a": {"b": [0, NaN]}}', "a.b[1] is NaN or infinite"),
    Poison("infinity", '{"a": -Infinity}', "a is NaN or infinite"),
    Poison("a float too large", '{"a": 1e999}', "a is NaN or infinite"),
    Poison("half a surrogate pair", r'{"a": "\ud800"}', "a holds half of a surrogate pair"),
    Poison("half a pair as key", r'{"\udfff": 1}', "has a key that holds half of a surrogate pair"),
    Poison("5,000 digits", '{"a": ' + "9" * 5_000 + "}", "a is a number of more than 300 digits"),
    Poison("301 digits", '{"a": ' + "9" * 301 + "}", "a is a number of more than 300 digits"),
    Poison("a huge text", '{"a": "' + "x" * BYTES + '"}', f"expected at most {BYTES}"),
    Poison("many values", _WIDE, f"expected at most {BYTES}", slow=True),
    Poison("a list", "[1]", "is a JSON list; expected an object"),
    Poison("a text", '"a"', "is a JSON text; expected an object"),
    Poison("a number", "1", "is a JSON number; expected an object"),
    Poison("null", "null", "is a JSON null; expected an object"),
    Poison("nothing", "", "is not JSON"),
    Poison("cut off", '{"a": 1', "is not JSON"),
    Poison("YAML", "{a: 1}", "is not JSON"),
    Poison("a byte order mark", '\ufeff{"a": 1}', "is not JSON"),
    Poison("a raw line break in a text", '{"a": "\n"}', "is not JSON"),
)

HARMLESS: tuple[str, ...] = (
    "{}",
    nested(31),
    '{"a": ' + "9" * 300 + "}",
    '{"a": -0, "b": 1e308, "c": 5e-324}',
    r'{"a": "\ud83d\ude00", "b": "\u0000", "": null}',
    '{"a": "' + "x" * (BYTES - 9) + '"}',
    '{"__proto__": {"constructor": []}, "a": {}, "a": 2}',
)
