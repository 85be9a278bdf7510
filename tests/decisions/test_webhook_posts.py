"""What is posted follows its schema, and a job's posts go in their order."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from piko.core.hooks import HookEvent, HookValue, JobFailure, JobLateness, JobRecovery
from piko.core.types import DataInterval, RunState
from piko.decisions.webhook_posts import next_posts, post_of
from piko.model.webhook_posts import WaitingPost

_NOW = datetime(2026, 1, 5, 12, 0, 0, 250_000, tzinfo=UTC)
_SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "webhook.schema.json").read_text(encoding="utf-8"))
_FAILURE = JobFailure(
    job_id="orders", owner="shop/orders", run_id="r1", state=RunState.TIMEOUT, attempt=3,
    scheduled_time=_NOW, started_at=_NOW, finished_at=_NOW,
    window=DataInterval(_NOW - timedelta(hours=1), _NOW), error_type="TimeoutError", error="TimeoutError: é",
    consecutive_failures=3, key="orders/failure/r1",
)  # fmt: skip
_BARE_FAILURE = JobFailure(
    job_id="orders", owner=None, run_id="r1", state=RunState.LOST, attempt=None, scheduled_time=None,
    started_at=None, finished_at=None, window=None, error_type=None, error=None, consecutive_failures=1,
    key="orders/failure/r1",
)  # fmt: skip
_LATENESS = JobLateness(
    job_id="orders", owner=None, objective="data", deadline=_NOW, reason="a run had to succeed",
    watermark=None, last_success_at=_NOW, key="orders/late/data",
)  # fmt: skip
_RECOVERY = JobRecovery(
    job_id="orders", owner=None, recovered_from=HookEvent.LATE, since=_NOW, watermark=_NOW,
    last_success_at=None, key="orders/recovered/late",
)  # fmt: skip


def _closed(schema: Any) -> Any:
    """`schema` with no room for fields that it does not name."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(value) for name, value in schema.items()}
    is_whole = "required" in closed and "properties" in closed
    return {**closed, "additionalProperties": False} if is_whole else closed


@pytest.mark.parametrize(
    "value", [_FAILURE, _BARE_FAILURE, _LATENESS, _RECOVERY], ids=lambda value: value.key
)
def test_every_body_is_as_the_schema_says_and_has_no_other_field(value: HookValue) -> None:
    post = post_of(value, post_id="p1", now=_NOW)
    body = json.loads(post.body)
    Draft202012Validator(_closed(_SCHEMA)).validate(body)
    assert set(body["data"]) == set(value.__dataclass_fields__)
    assert (body["id"], body["text"], body["timestamp"]) == ("p1", value.text, "2026-01-05T12:00:00.250000Z")
    assert (post.post_id, post.job_id, body["type"]) == ("p1", "orders", f"job.{post.event}")


def _waiting(post_id: str, job_id: str, *, next_try_in_s: float | None = None) -> WaitingPost:
    next_try_at = None if next_try_in_s is None else _NOW + timedelta(seconds=next_try_in_s)
    return WaitingPost(post_id=post_id, job_id=job_id, created_at=_NOW, attempts=0, next_try_at=next_try_at)


def test_of_each_job_the_oldest_post_is_tried_and_the_others_wait_for_it() -> None:
    waiting = [
        _waiting("1", "a", next_try_in_s=5),
        _waiting("2", "a"),
        _waiting("3", "b", next_try_in_s=0),
        _waiting("4", "b"),
        _waiting("5", "c"),
        _waiting("6", "d"),
    ]
    assert [post.post_id for post in next_posts(waiting, now=_NOW, most=8)] == ["3", "5", "6"]
    assert [post.post_id for post in next_posts(waiting, now=_NOW, most=1)] == ["3"]
