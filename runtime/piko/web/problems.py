"""Errors as RFC 9457 answers: `application/problem+json`, with the messages of the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from piko.errors import (
    InputError,
    NotFoundError,
    PikoError,
    RefusedError,
    SchemaError,
    StaleError,
    TransientError,
    did_you_mean,
)
from piko.observability.logs import get_logger
from piko.text import excerpt

MEDIA_TYPE = "application/problem+json"
_RETRY_AFTER = {"Retry-After": "2"}
_SHOWN = 80

log = get_logger(__name__)


class ProblemAnswer(BaseModel):
    """An error, as RFC 9457 writes it. `detail` says what is wrong, and what is right instead."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str | None = None


class ProblemError(Exception):
    """An answer that is not a success: `status`, and what to say about it."""

    def __init__(self, status: HTTPStatus, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers


_STATUS_OF: Sequence[tuple[type[PikoError], HTTPStatus]] = (
    (NotFoundError, HTTPStatus.NOT_FOUND),
    (StaleError, HTTPStatus.PRECONDITION_FAILED),
    (RefusedError, HTTPStatus.CONFLICT),
    (InputError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (TransientError, HTTPStatus.SERVICE_UNAVAILABLE),
    (SchemaError, HTTPStatus.SERVICE_UNAVAILABLE),
)


def problem(
    status: int,
    detail: str,
    *,
    path: str | None = None,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> Response:
    """The answer that says what went wrong; `more` are members of its own kind."""
    content = ProblemAnswer(
        title=HTTPStatus(status).phrase, status=status, detail=excerpt(detail), instance=path, **more
    ).model_dump(exclude_none=True)
    return JSONResponse(content, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def answer_problems(app: FastAPI) -> None:
    """Have `app` answer each kind of error with a problem."""
    app.add_exception_handler(ProblemError, _said)
    app.add_exception_handler(PikoError, _piko_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


def status_of(error: PikoError) -> HTTPStatus:
    """The status of an answer that says `error`."""
    found = (status for kind, status in _STATUS_OF if isinstance(error, kind))
    return next(found, HTTPStatus.INTERNAL_SERVER_ERROR)


async def _said(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return problem(error.status, error.detail, path=request.url.path, headers=error.headers)


async def _piko_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, PikoError)
    status = status_of(error)
    headers = _RETRY_AFTER if status is HTTPStatus.SERVICE_UNAVAILABLE else None
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("web_request_failed", path=request.url.path, error=str(error))
    return problem(status, str(error), path=request.url.path, headers=headers)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    kind = request.headers.get("content-type", "")
    if not _is_json(kind) and any(item["loc"] == ("body",) for item in error.errors()):
        detail = f"header Content-Type: {excerpt(repr(kind), limit=_SHOWN)}; expected 'application/json'"
        return problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail, path=request.url.path)
    issues = [_issue(item, _fields(request)) for item in error.errors()]
    return problem(
        HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(issues), path=request.url.path, errors=issues[:20]
    )


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def _issue(item: Mapping[str, Any], known: Sequence[str]) -> str:
    place, *names = (str(part) for part in item["loc"])
    name = ".".join(names) or place
    where = {"query": "filter", "body": "field", "path": "", "header": "header"}.get(place, place)
    if item["type"] == "extra_forbidden" and known and len(names) == 1:
        expected = ", ".join(known)
        return f"{where} {name[:_SHOWN]}: is not known here{did_you_mean(name, known)}; expected {expected}"
    value = excerpt(repr(item.get("input")), limit=_SHOWN)
    shown = "" if item["type"] in ("missing", "json_invalid", "extra_forbidden") else f" = {value}"
    return f"{where} {name}{shown}: {item['msg'].removeprefix('Value error, ')}".strip()


def _fields(request: Request) -> Sequence[str]:
    """The fields that the body of a request may have; empty: it takes none, or a form."""
    body = getattr(request.scope.get("route"), "body_field", None)
    model = None if body is None else body.field_info.annotation
    return sorted(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else ()


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path, detail = request.url.path, str(error.detail)
    if error.status_code == HTTPStatus.NOT_FOUND:
        detail = f"no such path: {excerpt(path, limit=200)}; /api/v1/openapi.json lists what there is"
        if path.startswith("/api/v1/jobs/"):
            detail += ". The id of a job has no `/`: it is 1 to 128 of A-Z a-z 0-9 _ . : -"
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow") or (error.headers or {}).get("allow", "")
        detail = f"{request.method} is not possible here; expected {allowed}"
    return problem(error.status_code, detail, path=path, headers=error.headers)


async def _unexpected(request: Request, error: Exception) -> Response:
    log.error("web_request_failed", path=request.url.path, exc_info=error)
    detail = "this is a defect of Piko; the log of this process says more"
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail, path=request.url.path)
