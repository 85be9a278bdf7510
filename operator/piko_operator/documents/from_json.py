"""JSON that a YAML parser does not accept: streams of objects, escaped surrogate pairs, very long keys."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from piko_operator.documents.nodes import MOST_DEPTH, Budget, DocumentError, Node, too_deep
from piko_operator.documents.scalars import scalar

_SPACE = re.compile(r"\s*")
_HALF = re.compile("[\ud800-\udfff]")


def json_documents(text: str) -> list[Node | DocumentError] | None:
    """A stream of JSON objects, each with its first line; None if `text` is not such a stream."""
    decoder = json.JSONDecoder(
        object_pairs_hook=_without_doubles, parse_int=_json_number, parse_float=_json_number
    )
    budget = Budget()
    found: list[Node | DocumentError] = []
    begin, line = _next(text, 0, 1)
    while begin < len(text):
        try:
            value, end = decoder.raw_decode(text, begin)
            found.append(_json_node(value, line, budget, 0))
        except json.JSONDecodeError as error:
            return [*found, DocumentError(f"not JSON: {error.msg}", line=error.lineno)] if found else None
        except RecursionError:
            return [*found, too_deep(line)]
        except DocumentError as error:
            return [*found, error]
        except ValueError as error:
            return [*found, DocumentError(str(error), line=line)]
        begin, line = _next(text, end, line + text.count("\n", begin, end))
    return found


def _next(text: str, at: int, line: int) -> tuple[int, int]:
    """The position and line of the next object after `at` in `line`."""
    space = _SPACE.match(text, at)
    begin = space.end() if space else at
    return begin, line + text.count("\n", at, begin)


def _json_number(text: str) -> object:
    return scalar(text, tag=None, plain=True)


def _without_doubles(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {key!r} is given twice; remove one of the two")
        found[key] = value
    return found


def _json_node(value: Any, line: int, budget: Budget, depth: int) -> Node:
    budget.spend(1, line)
    if depth > MOST_DEPTH:
        raise too_deep(line)
    if isinstance(value, dict | list):
        node = Node(value=type(value)(), line=line)
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            node.put(key, line, _json_node(part, line, budget, depth + 1))
            _check_halves(key, line)
        return node
    _check_halves(value, line)
    if isinstance(value, float) and not math.isfinite(value):
        raise DocumentError("NaN and Infinity are not JSON numbers; quote or remove them", line=line)
    return Node(value=value, line=line)


def _check_halves(value: object, line: int) -> None:
    if isinstance(value, str) and (half := _HALF.search(value)):
        raise DocumentError(
            f"\\u{ord(half[0]):04x} is half of a character (a surrogate without its pair)", line=line
        )
