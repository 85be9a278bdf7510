"""Requests by the description of the API, and answers compared with it.

schemathesis reads the description, and makes requests that it allows and such as it forbids. They are made by
rule, so each run of the tests sends the same ones. Some name what is there, and each operation is asked once
for what it can do, so that no answer is seen as an error alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import requests
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy
from pydantic import SecretStr
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.openapi import from_dict
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from piko.clock import SystemClock
from piko.web.application import API, create_web
from piko.web.options import WebSettings
from tests.harness.waiting import PATIENCE_S

Operation = APIOperation[Any, Any, Any, Any]
Request = Case[Operation]

_CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
_EACH = 4
_ACTS = 100
"""Of one caller: more within a minute are refused."""
_WITHOUT_END = "/api/v1/events"
_THERE = {"job_id": "a", "run_id": "run-001", "backfill_id": "backfill-1", "letter_id": "letter-000"}

_HOURS = {"start": "2026-01-08T00:00:00Z", "end": "2026-01-08T02:00:00Z"}
_BODIES: Mapping[str, dict[str, Any]] = {
    "/schedules:plan": {"schedule_type": "cron", "schedule_expr": "@hourly"},
    "/runs:cancel": {"dry_run": True},
    "/jobs/{job_id}:run-window": {"start": _HOURS["start"]},
    "/jobs/{job_id}:set-watermark": {"watermark": _HOURS["start"]},
    "/jobs/{job_id}:rollback-config": {"revision": 1},
    "/backfills": {"job_id": "a", **_HOURS},
}
_OTHERS = {"/jobs/{job_id}:trigger": {"job_id": "b:c"}, "/runs/{run_id}:cancel": {"run_id": "run-002"}}


@cache
def described_requests() -> list[Request]:
    """Requests of each operation, some that its description allows and some that it forbids."""
    app = create_web(
        settings=WebSettings(dsn=SecretStr("sqlite+aiosqlite://"), timezone="UTC"), clock=SystemClock()
    )
    described = app.openapi()
    del described["paths"][_WITHOUT_END]
    read = list(from_dict(described).get_all_operations())
    operations = [result.ok() for result in read if isinstance(result, Ok)]
    assert len(operations) == len(read) > 40
    found = [_possible(operation) for operation in operations]
    for operation in operations:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            takes_nothing = not (operation.path_parameters or operation.query or operation.headers)
            if mode is GenerationMode.POSITIVE or not takes_nothing:
                found += _generated(operation.as_strategy(generation_mode=mode))
    return found


def _possible(operation: Operation) -> Request:
    """What the operation can do."""
    path = operation.path.removeprefix(API)
    there = _OTHERS.get(path, _THERE)
    given: dict[str, Any] = {
        "path_parameters": {item.name: there[item.name] for item in operation.path_parameters}
    }
    if operation.method == "post":
        given |= {"body": _BODIES.get(path, {}), "media_type": "application/json"}
    return operation.Case(**given)


def _generated(strategy: SearchStrategy[Request]) -> list[Request]:
    found: list[Request] = []

    @settings(
        max_examples=_EACH,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(case: Request) -> None:
        if len(found) % 2:
            case.path_parameters = {name: _THERE[name] for name in case.path_parameters}
        found.append(case)

    collect()
    return found


def ask(
    origin: str, cases: Sequence[Request], callers: Sequence[str]
) -> tuple[Mapping[str, set[int]], list[str]]:
    """By operation: with which statuses it answered; and what was wrong with answers.

    `callers` act in turn, each as often as is allowed within a minute.
    """
    statuses: dict[str, set[int]] = {}
    wrong: list[str] = []
    with requests.Session() as session:
        session.trust_env = False
        for number, case in enumerate(cases):
            headers = {"X-Forwarded-User": callers[number // _ACTS]}
            answer = case.call(base_url=origin, session=session, headers=headers, timeout=PATIENCE_S)
            statuses.setdefault(case.operation.label, set()).add(answer.status_code)
            try:
                case.validate_response(answer, checks=_CHECKS)
            except FailureGroup as failures:
                wrong += [f"{case.operation.label}: {failure}" for failure in failures.exceptions]
    return statuses, wrong
