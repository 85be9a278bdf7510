"""What a form of a page says."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import parse_qsl

from fastapi import Request

from piko.web.problems import ProblemError

_FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 40


async def fields_of(request: Request) -> dict[str, str]:
    """The fields of a form by name, those without a value left out. Raises `ProblemError`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _FORM:
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"a page takes {_FORM}; programs use /api/v1")
    try:
        pairs = parse_qsl((await request.body()).decode(), max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise ProblemError(HTTPStatus.BAD_REQUEST, f"the form cannot be read: {error}") from None
    return dict(pairs)
