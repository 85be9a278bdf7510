"""Texts for people: bounded in length, and safe for a log, a row, a condition and a page.

These texts come from outside Piko: an exception of user code, a model that lists 20,000 fields, the message
of a server. None may fill a table, a log or the status of a resource, and none may raise while it is
formatted. So every such text passes through this module.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice

LIMIT = 8_000
"""Bytes of one text; a thousand of them fit into one packet to the database."""
ITEMS = 10
"""Items shown of one list."""
_NAME = 255


def excerpt(text: str, *, limit: int = LIMIT) -> str:
    """`text` in at most `limit` bytes of UTF-8: the beginning and the end, with the omitted length between.

    Characters that no database stores are escaped: null, lone surrogates.
    """
    data = text.encode(errors="backslashreplace").replace(b"\0", b"\\0")
    if len(data) <= limit:
        return data.decode()
    between = "\n" if b"\n" in data else " "
    mark = f"{between}… {len(data) - limit} bytes …{between}".encode()
    half = max((limit - len(mark)) // 2, 0)
    first, last = data[:half].decode(errors="ignore"), data[len(data) - half :].decode(errors="ignore")
    return f"{first}{mark.decode()}{last}"


def first_line(text: str | None, *, most: int | None = None) -> str:
    """The line of an error that says the most: the last one of a traceback, else the first.

    `most`: characters of it; None: all.
    """
    lines = (text or "").strip().splitlines() or [""]
    line = (lines[-1] if lines[0].startswith("Traceback (most recent call last)") else lines[0]).strip()
    return line if most is None or len(line) <= most else f"{line[: most - 1]}…"


def listed(items: Iterable[str], *, separator: str = ", ", most: int = ITEMS) -> str:
    """The first of `items`, and the number of further ones."""
    iterator = iter(items)
    shown = list(islice(iterator, most))
    more = sum(1 for _ in iterator)
    return separator.join([*shown, f"and {more} more"] if more else shown)


def type_name(error: BaseException) -> str:
    """The name of the class of `error`, shortened to its column."""
    return excerpt(type(error).__name__, limit=_NAME)


def error_text(error: BaseException) -> str:
    """`error` as in the last line of a traceback, `KeyError: 'customer_id'`. Never raises."""
    return excerpt(whole_error_text(error))


def whole_error_text(error: BaseException) -> str:
    """As `error_text`, without a limit: secrets must be hidden before a text is cut."""
    try:
        text = str(error)
    except BaseException as failure:  # noqa: BLE001 - the class is user code
        text = f"(no text: __str__ raised {type_name(failure)})"
    return f"{type_name(error)}: {text}" if text else type_name(error)


def traceback_text(error: BaseException) -> str:
    """The traceback of `error`, without a limit. Never raises."""
    try:
        return "".join(traceback.format_exception(error)).rstrip("\n")
    except BaseException as failure:  # noqa: BLE001 - the class is user code
        return f"(no traceback: {type_name(failure)})"


def repr_text(value: object) -> str:
    """The repr of `value`. Never raises."""
    try:
        return excerpt(repr(value))
    except BaseException as failure:  # noqa: BLE001 - the class is user code
        return f"({type(value).__qualname__}: its __repr__ raised {type_name(failure)})"


def instant_text(moment: datetime, *, whole_seconds: bool = False) -> str:
    """An aware `moment` as RFC 3339 in UTC: `2026-01-08T03:00:00Z`, with microseconds only if it has any.

    This is how rows, logs, JSON and command lines write an instant. `whole_seconds`: leave out a fraction.
    """
    timespec = "seconds" if whole_seconds else "auto"
    return moment.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def counted(count: int, one: str, many: str | None = None) -> str:
    """`1 job`, `3 jobs`; `many` is the plural that no `s` makes."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def span(seconds: float) -> str:
    """A length of time in one unit: `12s`, `3m`, `5h`, `2d`."""
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{max(seconds, 0):.0f}s"
