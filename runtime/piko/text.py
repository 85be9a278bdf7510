"""Texts as they are told: of a bounded length, and such that a log, a row, a condition and a page can hold
them.

What Piko tells comes from elsewhere: an exception of somebody's code, a model that lists 20,000 fields, the
sentence of a server. None of it may fill a table, a log or the status of a resource, and none of it may raise
while it is told. Whatever such a text goes to, it goes through here.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from itertools import islice

LIMIT = 8_000
"""Bytes of one text: a thousand of them fit into a packet to the database."""
ITEMS = 10
"""Items of one list."""
_NAME = 255


def excerpt(text: str, *, limit: int = LIMIT) -> str:
    """`text` in at most `limit` bytes of UTF-8: its beginning and its end, with how much is left out between.

    What no database stores is written as an escape: a null, half a surrogate pair.
    """
    data = text.encode(errors="backslashreplace").replace(b"\0", b"\\0")
    if len(data) <= limit:
        return data.decode()
    between = "\n" if b"\n" in data else " "
    mark = f"{between}… {len(data) - limit} bytes …{between}".encode()
    half = max((limit - len(mark)) // 2, 0)
    first, last = data[:half].decode(errors="ignore"), data[len(data) - half :].decode(errors="ignore")
    return f"{first}{mark.decode()}{last}"


def listed(items: Iterable[str], *, separator: str = ", ", most: int = ITEMS) -> str:
    """The first of `items`, and how many more there are."""
    iterator = iter(items)
    told = list(islice(iterator, most))
    more = sum(1 for _ in iterator)
    return separator.join([*told, f"and {more} more"] if more else told)


def type_name(error: BaseException) -> str:
    """The class of `error`, as long as its column is."""
    return excerpt(type(error).__name__, limit=_NAME)


def error_text(error: BaseException) -> str:
    """`error` as Python's own last line tells it, `KeyError: 'customer_id'`; whatever its class does."""
    return excerpt(whole_error_text(error))


def whole_error_text(error: BaseException) -> str:
    """The same without a bound, for who has still to hide secrets in it: a secret cut in two is not found."""
    try:
        said = str(error)
    except BaseException as failure:  # noqa: BLE001 - its class is somebody's code
        said = f"(its text cannot be had: __str__ raised {type_name(failure)})"
    return f"{type_name(error)}: {said}" if said else type_name(error)


def traceback_text(error: BaseException) -> str:
    """The traceback of `error`, whatever its class does; not bounded either."""
    try:
        return "".join(traceback.format_exception(error)).rstrip("\n")
    except BaseException as failure:  # noqa: BLE001 - its class is somebody's code
        return f"(its traceback cannot be had: {type_name(failure)})"


def repr_text(value: object) -> str:
    """What `value` looks like in code, whatever its class does."""
    try:
        return excerpt(repr(value))
    except BaseException as failure:  # noqa: BLE001 - its class is somebody's code
        return f"({type(value).__qualname__}: its __repr__ raised {type_name(failure)})"


def span(seconds: float) -> str:
    """A length of time in one unit: `12s`, `3m`, `5h`, `2d`."""
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{max(seconds, 0):.0f}s"
