"""Every address that a GET may ask, in each way that makes a statement of its own.

Tests of what reads cost, of what they plan and of what they show walk this table; a route that it lacks fails
`test_bounds`. Its ids are those of `benchmarks.history` and of the tests that fill tables for it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI

API = "/api/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Ids that exist: a job, a stateful one, a run with a log, a backfill, a dead letter, and its sink."""

    job: str
    stateful: str
    run: str
    backfill: str
    letter: str
    replica: str
    sink: str
    since: str
    until: str


_LISTED_JOBS = (
    "",
    "?sort=next",
    "?sort=failures",
    "?text=0",
    "?text=nothing-has-this",
    "?late=true&sort=next",
    "?late=false&sort=failures",
    "?failing=true&sort=failures",
    "?failing=false&sort=next",
    "?enabled=false",
    "?state=Invalid&state=WaitingForConfig",
    "?owner=sql&sort=failures",
    "?owner=resource&namespace=team-7&sort=next",
)
_LISTED_RUNS = (
    "",
    "?state=FAILED",
    "?state=LOST&state=TIMEOUT&state=FAILED",
    "?state=CANCELLED",
    "?state=QUEUED&state=RUNNING",
    "?state=SUCCESS&until={until}",
    "?since={since}",
    "?since={since}&until={until}",
    "?state=FAILED&since={since}",
    "?job={job}",
    "?job={job}&state=FAILED",
    "?job={job}&state=CANCELLED",
    "?job={job}&since={since}&until={until}",
    "?job=job-nobody",
    "?backfill={backfill}",
    "?backfill={backfill}&state=FAILED",
    "?backfill={backfill}&job={stateful}&since={since}",
)

ENDPOINTS: Mapping[str, Sequence[str]] = {
    "/attention": ["/attention", "/attention?limit=5"],
    "/schema": ["/schema"],
    "/jobs": [*(f"/jobs{query}" for query in _LISTED_JOBS), "/jobs?failing=true&total=true"],
    "/jobs:counts": ["/jobs:counts"],
    "/jobs/{job_id}": ["/jobs/{job}", "/jobs/job-nobody"],
    "/jobs/{job_id}/next": ["/jobs/{job}/next?count=100"],
    "/jobs/{job_id}/explain": [
        "/jobs/{job}/explain",
        "/jobs/{job}/explain?at={since}",
        "/jobs/{job}/explain?at=2026-01-08T00:51:00Z",
        "/jobs/{stateful}/explain?at={until}",
    ],
    "/jobs/{job_id}/schedule": ["/jobs/{job}/schedule"],
    "/jobs/{job_id}/windows": ["/jobs/{stateful}/windows"],
    "/jobs/{job_id}/watermark": ["/jobs/{stateful}/watermark"],
    "/jobs/{job_id}/config": ["/jobs/{job}/config"],
    "/rows": ["/rows", "/rows?limit=500", "/rows?job={job}&job={stateful}"],
    "/runs": [f"/runs{query}" for query in _LISTED_RUNS],
    "/runs:counts": ["/runs:counts"],
    "/runs:report": [
        "/runs:report?since={since}&until={until}",
        "/runs:report?since={since}&until={until}&job={job}",
    ],
    "/runs/{run_id}": ["/runs/{run}", "/runs/run-none"],
    "/runs/{run_id}/attempts": ["/runs/{run}/attempts"],
    "/runs/{run_id}/log": ["/runs/{run}/log"],
    "/backfills": ["/backfills", "/backfills?job={stateful}", "/backfills?before={backfill}"],
    "/backfills/{backfill_id}": ["/backfills/{backfill}"],
    "/changes": ["/changes", "/changes?job={job}"],
    "/jobs/{job_id}/changes": ["/jobs/{job}/changes"],
    "/replicas": ["/replicas"],
    "/sinks": ["/sinks"],
    "/dead-letters": [
        "/dead-letters",
        "/dead-letters?sink={sink}",
        "/dead-letters?job={job}",
        "/dead-letters?run={run}&asked=false",
        "/dead-letters?replica={replica}&sink={sink}",
    ],
    "/dead-letters/{letter_id}": ["/dead-letters/{letter}", "/dead-letters/none"],
    "/leader": ["/leader"],
    "/definitions": ["/definitions"],
}
"""By path of the API: the addresses that ask it."""

PAGES: Mapping[str, Sequence[str]] = {
    "/": ["/"],
    "/jobs": [f"/jobs{query}" for query in _LISTED_JOBS],
    "/jobs/{job_id}": ["/jobs/{job}", "/jobs/{stateful}"],
    "/jobs/{job_id}/{verb}": [
        "/jobs/{job}/pause",
        "/jobs/{job}/rollback-config",
        "/jobs/{job}/trigger",
        "/jobs/{stateful}/set-watermark",
        "/jobs/{stateful}/backfill",
        "/jobs/{stateful}/run-window",
    ],
    "/runs": [f"/runs{query}" for query in _LISTED_RUNS],
    "/runs/{run_id}": ["/runs/{run}"],
    "/runs/{run_id}/{verb}": ["/runs/{run}/retry", "/runs/{run}/cancel"],
    "/backfills": ["/backfills"],
    "/backfills/{backfill_id}": ["/backfills/{backfill}"],
    "/backfills/{backfill_id}/{verb}": ["/backfills/{backfill}/pause"],
    "/replicas": ["/replicas"],
    "/changes": ["/changes", "/changes?job={job}"],
    "/sinks": ["/sinks"],
    "/dead-letters": ["/dead-letters", "/dead-letters?sink={sink}"],
    "/dead-letters/{letter_id}/{verb}": ["/dead-letters/{letter}/replay"],
    "/jobs/{job_id}/why": ["/jobs/{job}/why?at={since}"],
    "/acts/{verb}/dead-letters": ["/acts/replay/dead-letters?sink={sink}"],
    "/acts/{verb}/jobs": ["/acts/pause/jobs?failing=true"],
    "/acts/{verb}/runs": ["/acts/cancel/runs?state=QUEUED"],
}
"""By path of a page: the addresses that ask it."""

NOT_OF_THE_DATABASE = {f"{API}/events", f"{API}/openapi.json", "/static/{name}", "/sign-in"}
"""What has no end, and what reads no database."""


def reads_of(app: FastAPI) -> set[str]:
    """The path of every route of the application that answers a GET."""
    return {path for path, methods in _routes(app.router.routes, "") if "GET" in methods}


def addresses(known: Known) -> Iterator[str]:
    """Every address of both tables."""
    values = {name: getattr(known, name) for name in Known.__slots__}
    for of_path in ENDPOINTS.values():
        yield from (API + address.format(**values) for address in of_path)
    for of_path in PAGES.values():
        yield from (address.format(**values) for address in of_path)


def key_in(cursor: str) -> list[Any]:
    """Where in its list the page begins that `cursor` names."""
    held: list[Any] = _held(cursor)["k"]
    return held


def with_cursor(address: str, cursor: str, *, key: Sequence[Any] | None = None) -> str:
    """`address` with that cursor, moved to `key` if that is given."""
    if key is not None:
        moved = json.dumps({**_held(cursor), "k": list(key)}, separators=(",", ":"))
        cursor = base64.urlsafe_b64encode(moved.encode()).decode().rstrip("=")
    return f"{address}{'&' if '?' in address else '?'}cursor={quote(cursor)}"


def _held(cursor: str) -> dict[str, Any]:
    held: dict[str, Any] = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    return held


def _routes(routes: Sequence[Any], prefix: str) -> Iterator[tuple[str, set[str]]]:
    for route in routes:
        included = getattr(route, "original_router", None)
        if included is not None:
            yield from _routes(included.routes, prefix + route.include_context.prefix)
        elif getattr(route, "methods", None):
            yield prefix + route.path, route.methods
