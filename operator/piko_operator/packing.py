"""Parts of resources, kept small: ten thousand resources are known for as long as they exist.

A parsed spec or status takes several times the memory of its text, and most of it is never looked at between
two changes of the resource.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

from piko_operator.nesting import cut

_FAST = 1
"""The level of zlib: a higher one takes longer, and saves little."""
_WINDOW_BITS, _MEMORY_LEVEL = 13, 6
"""By its defaults zlib first clears a quarter of a megabyte, which takes longer than all the rest."""


def pack(value: object) -> bytes:
    """`value` as few bytes, from which `unpack` makes it again; empty if it is no object, or an empty one.

    What is nested too deep becomes null. Equal objects with equal order of their keys become equal bytes.
    """
    if not isinstance(value, Mapping) or not value:
        return b""
    try:
        text = json.dumps(value, separators=(",", ":"))
    except RecursionError:
        text = json.dumps(cut(value), separators=(",", ":"))
    compressor = zlib.compressobj(_FAST, zlib.DEFLATED, _WINDOW_BITS, _MEMORY_LEVEL)
    return compressor.compress(text.encode("ascii")) + compressor.flush()


def unpack(packed: bytes) -> dict[str, Any]:
    """The object that `packed` was made of; the caller may change it."""
    return dict(json.loads(zlib.decompress(packed))) if packed else {}
