"""How lists are cut: by key. A page names the last key of the one before, so no statement counts or skips.

A cursor is opaque to clients. It holds the version of its form, the key, and a digest of the filters that it
belongs to, so that one that is used with other filters is refused instead of answered with a wrong page.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel, Field

from piko.web.problems import ProblemError

_VERSION = 1
_LONGEST = 1000
MOST = 500

T = TypeVar("T")
K = TypeVar("K")
Part = str | int | None
Key = Sequence[Part]
"""A key as JSON holds it."""

Limit = Annotated[int, Query(ge=1, le=MOST, description="How many items a page has.")]
Cursor = Annotated[
    str | None, Query(max_length=_LONGEST, description="`next` of the page before; none: the first page.")
]


class Page(BaseModel, Generic[T]):
    """Some items of a list, in its order."""

    items: list[T]
    next: str | None = Field(None, description="`cursor` of the next page; null: this is the last one.")
    total: int | None = Field(None, description="How many items the filters leave, if it was asked for.")


def page_of(found: Sequence[T], limit: int, *, key: Callable[[T], Key], filters: object) -> Page[T]:
    """A page of at most `limit`; `found` has one item more where there is a next page.

    `key` is where in the order an item stands, and `filters` is what the list was asked for with.
    """
    items = found[:limit]
    return page_before(items, key(items[-1]) if len(found) > limit else None, filters=filters)


def page_before(items: Sequence[T], key: Key | None, *, filters: object) -> Page[T]:
    """A page of `items`; the next one comes after `key`, None: this is the last one."""
    return Page[T](items=list(items), next=cursor_of(key, filters=filters))


def key_of(cursor: str | None, *, filters: object, read: Callable[[Key], K]) -> K | None:
    """The key that `cursor` holds, as `read` understands it; None: the list begins.

    Raises `ProblemError` if it is not one for these filters.
    """
    if cursor is None:
        return None
    try:
        held = json.loads(base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)))
        version, key, digest = held["v"], held["k"], held["f"]
    except (binascii.Error, ValueError, KeyError, TypeError, RecursionError):
        raise _refused("it is not one that Piko made") from None
    if version != _VERSION:
        raise _refused(f"it is of version {str(version)[:20]}, and this release has {_VERSION}")
    if digest != _digest(filters):
        raise _refused("it belongs to other filters or to another order")
    try:
        if any(isinstance(part, str) and not part.isascii() for part in key):
            raise ValueError("keys are ids and instants")
        return read(key)
    except (ValueError, TypeError, IndexError, KeyError, OverflowError):
        raise _refused("it is not one that Piko made") from None


def plain(key: Sequence[datetime | str | int | None]) -> Key:
    """A key as JSON holds it."""
    return [part.isoformat() if isinstance(part, datetime) else part for part in key]


def moment(part: Part) -> datetime:
    """The aware instant in a key. Raises `ValueError`."""
    found = datetime.fromisoformat(str(part))
    if found.tzinfo is None:
        raise ValueError("an instant in a cursor has an offset")
    return found


def cursor_of(key: Key | None, *, filters: object) -> str | None:
    """The cursor of the page that comes after `key`; None: there is none."""
    if key is None:
        return None
    held = json.dumps({"v": _VERSION, "k": list(key), "f": _digest(filters)}, separators=(",", ":"))
    return base64.urlsafe_b64encode(held.encode()).decode().rstrip("=")


def _digest(filters: object) -> str:
    return hashlib.sha256(repr(filters).encode()).hexdigest()[:12]


def _refused(why: str) -> ProblemError:
    return ProblemError(
        HTTPStatus.BAD_REQUEST,
        f"filter cursor: {why}; leave `cursor` out to start from the first page, and pass on `next` as it is",
    )
