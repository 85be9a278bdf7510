"""Truncates answers of the API server that are nested deeper than a JSON parser can follow.

The API server accepts 10,000 levels; Python's parser gives up at about 1,000. One such resource would break
the page of a listing or the watch that it arrives in, and so affect all other resources. Therefore everything
deeper than `LEVELS` is replaced by null before the text is parsed. The resource itself is still refused by
its own rules, which allow far fewer levels.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

LEVELS = 100

_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)


def read_answer(text: bytes) -> Any:
    """The value of a JSON text of any depth. Raises `ValueError` if it is not JSON."""
    try:
        return json.loads(text)
    except RecursionError:
        return json.loads(shallow(text))


def shallow(text: bytes) -> bytes:
    """`text` with null in place of everything deeper than `LEVELS`."""
    if text.count(b"{") + text.count(b"[") <= LEVELS:
        return text
    kept: list[bytes] = []
    start = level = 0
    for token in _TOKEN.finditer(text):
        match text[token.start()]:
            case 0x7B | 0x5B:  # { [
                level += 1
                if level == LEVELS + 1:
                    kept += [text[start : token.start()], b"null"]
            case 0x7D | 0x5D:  # } ]
                if level == LEVELS + 1:
                    start = token.end()
                level -= 1
    kept.append(text[start:])
    return b"".join(kept)


def cut(value: Any, levels: int = LEVELS) -> Any:
    """`value` with None in place of everything that is nested deeper than `levels`."""
    if not isinstance(value, Mapping | list):
        return value
    if levels == 0:
        return None
    if isinstance(value, Mapping):
        return {name: cut(item, levels - 1) for name, item in value.items()}
    return [cut(item, levels - 1) for item in value]
