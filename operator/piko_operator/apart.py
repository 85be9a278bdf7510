"""Reads many rows at once, although one of them may be unreadable."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TypeVar

from piko.errors import DatabaseUnavailableError

T = TypeVar("T")


async def apart(
    read: Callable[[Collection[str]], Awaitable[Mapping[str, T]]],
    job_ids: Collection[str],
    *,
    blame: Callable[[str, Exception], None],
) -> Mapping[str, T]:
    """The result of `read` for `job_ids`; if it fails, each half is read separately.

    A job that cannot be read alone is left out and passed to `blame` with the error. Raises
    `DatabaseUnavailableError`, which concerns no single job.
    """
    try:
        return await read(job_ids)
    except DatabaseUnavailableError:
        raise
    except Exception as error:  # noqa: BLE001 any other error belongs to one row
        ids = sorted(set(job_ids))
        if len(ids) <= 1:
            blame(ids[0] if ids else "", error)
            return {}
    middle = len(ids) // 2
    first = await apart(read, ids[:middle], blame=blame)
    return {**first, **await apart(read, ids[middle:], blame=blame)}
