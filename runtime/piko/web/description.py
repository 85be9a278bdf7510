"""The description of the API, completed with what its routes do not declare.

FastAPI describes what a route takes and what it answers if all is well. But a request passes the guard and
the keys before it reaches a route, and every error is a problem of RFC 9457. Which of them an operation can
answer follows from what it takes; a route declares what does not follow, with nothing but its words.
"""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI

from piko.web.idempotency import KEY_PARAMETER
from piko.web.problems import MEDIA_TYPE, ProblemAnswer

_PROBLEM = ProblemAnswer.__name__
_OF_FASTAPI = ("HTTPValidationError", "ValidationError")

_SAID = {
    400: "A header or a cursor cannot be read.",
    401: "The server does not know who asks.",
    403: "Who asks may not act, or the request comes from a page of another site.",
    404: "There is nothing of that id.",
    409: "It cannot be done as things are, or a request with the same `Idempotency-Key` is in progress.",
    412: "The row has changed since it was read: the `ETag` is another one.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "The request cannot be understood: a filter, an id or a field is wrong.",
    429: "The caller has sent too many acts within a minute.",
    503: "The database cannot be used now, or all places for those who follow are taken.",
}
_OF_AN_ACT = (400, 403, 409, 413, 415, 429)
_OF_ALL = (401, 422, 503)
_REFERRED = "Problem{}"
_COME_BACK = (409, 429, 503)
_RETRY_AFTER = {"description": "Seconds to wait.", "schema": {"type": "integer"}}


def complete_description(app: FastAPI) -> None:
    """Have the description of the API name the header of keys at each POST, and each problem."""
    openapi = app.openapi

    def completed() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(openapi())
        return openapi()

    app.openapi = completed  # type: ignore[method-assign]


def _complete(described: dict[str, Any]) -> None:
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            if method == "post":
                operation.setdefault("parameters", []).append(KEY_PARAMETER)
            answers = operation["responses"]
            statuses = {*_statuses(path, method, operation), *_declared(answers)}
            for status in sorted(statuses):
                answers[str(status)] = _answer(status, answers.pop(str(status), {}))
    components = described["components"]
    for name in _OF_FASTAPI:
        components["schemas"].pop(name, None)
    components["schemas"][_PROBLEM] = ProblemAnswer.model_json_schema()
    components["responses"] = {
        _REFERRED.format(status): _problem(status, said) for status, said in _SAID.items()
    }


def _statuses(path: str, method: str, operation: dict[str, Any]) -> Iterator[int]:
    """Problems that an operation can answer by what it takes."""
    taken = {item["name"] for item in operation.get("parameters", ())}
    yield from _OF_ALL
    if method == "post":
        yield from _OF_AN_ACT
    if "cursor" in taken:
        yield HTTPStatus.BAD_REQUEST
    if "if-match" in taken:
        yield HTTPStatus.PRECONDITION_FAILED
    if "{" in path:
        yield HTTPStatus.NOT_FOUND


def _declared(answers: dict[str, Any]) -> Iterator[int]:
    yield from (int(status) for status in answers if int(status) >= HTTPStatus.BAD_REQUEST)


def _answer(status: int, declared: dict[str, Any]) -> dict[str, Any]:
    """What is the same everywhere, or what a route says of it; 422 is what FastAPI says of each."""
    if "description" in declared and status != HTTPStatus.UNPROCESSABLE_ENTITY:
        return _problem(status, declared["description"])
    return {"$ref": f"#/components/responses/{_REFERRED.format(status)}"}


def _problem(status: int, said: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{_PROBLEM}"}
    answer: dict[str, Any] = {"description": said, "content": {MEDIA_TYPE: {"schema": schema}}}
    if status in _COME_BACK:
        answer["headers"] = {"Retry-After": _RETRY_AFTER}
    return answer
