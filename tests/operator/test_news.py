"""One event for one change of state."""

from __future__ import annotations

from typing import Any

import pytest

from piko_operator.news import news_of


def _condition(kind: str, status: str, reason: str, message: str = "m") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def _status(*conditions: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"conditions": list(conditions), **fields}


_GOOD = _status(_condition("Synced", "True", "Synced"))
_CONFLICT = _status(_condition("Synced", "False", "Conflict"))
_AWAY = _status(_condition("Synced", "Unknown", "DatabaseUnavailable"))
_RUN = {"runId": "r", "scheduledTime": "2026-01-01T00:00:00Z", "message": "it broke\nTraceback …"}
_FAILED = {"consecutiveFailures": 1, "lastRun": {**_RUN, "state": "FAILED"}}
_LOST = {"consecutiveFailures": 2, "lastRun": {"runId": "q", "state": "LOST"}}
_CANCELLED = {
    "consecutiveFailures": 2,
    "lastRun": {"runId": "c", "state": "CANCELLED"},
    "recentRuns": [{"runId": "c", "state": "CANCELLED"}, {**_RUN, "state": "TIMEOUT"}],
}
_SUCCESS = {"consecutiveFailures": 0, "lastRun": {"runId": "s", "state": "SUCCESS"}}
_NOT_SYNCED: dict[str, Any] = {}


def _invalid(message: str) -> dict[str, Any]:
    return _status(_condition("Synced", "False", "InvalidSpec", message))


def _given_up(status: str, message: str = "") -> dict[str, Any]:
    return _status(
        _condition("DataGivenUp", status, "BeyondBound" if status == "True" else "Nothing", message)
    )


@pytest.mark.parametrize(
    ("before", "after", "events"),
    [
        ({}, _GOOD, []),
        ({}, _CONFLICT, ["Warning Conflict"]),
        (_GOOD, _CONFLICT, ["Warning Conflict"]),
        (_CONFLICT, _CONFLICT, []),
        (_CONFLICT, _GOOD, ["Normal Synced"]),
        (_CONFLICT, _invalid("a"), ["Warning InvalidSpec"]),
        (_invalid("a"), _invalid("b"), ["Warning InvalidSpec"]),
        (_GOOD, _AWAY, []),
        (_AWAY, _GOOD, []),
        (_GOOD, _status(_condition("Valid", "False", "Invalid")), ["Warning InvalidConfig"]),
        (_GOOD, _status(_condition("Valid", "Unknown", "Pending")), []),
        (_given_up("False"), _given_up("True", "a"), ["Warning DataGivenUp"]),
        (_given_up("True", "a"), _given_up("True", "a"), []),
        (_given_up("True", "a"), _given_up("True", "b"), ["Warning DataGivenUp"]),
        (_given_up("True", "a"), _given_up("False"), []),
        ({}, _given_up("False"), []),
        ({}, _FAILED, ["Warning JobFailed"]),
        ({}, _SUCCESS, []),
        (_SUCCESS, _FAILED, ["Warning JobFailed"]),
        (_FAILED, _LOST, []),
        (_LOST, _CANCELLED, []),
        (_CANCELLED, _FAILED, []),
        (_SUCCESS, _CANCELLED, ["Warning JobFailed"]),
        (_LOST, _SUCCESS, ["Normal JobRecovered"]),
        (_LOST, _NOT_SYNCED, []),
        (_SUCCESS, _SUCCESS, []),
    ],
)
def test_a_change_of_state_is_reported_once(
    before: dict[str, Any], after: dict[str, Any], events: list[str]
) -> None:
    assert [f"{notice.type} {notice.reason}" for notice in news_of(before, after)] == events


def test_the_event_of_a_failed_run_says_which_and_why() -> None:
    (notice,) = news_of({}, _FAILED)
    assert notice.message == "run r of 2026-01-01T00:00:00Z ended FAILED: it broke"


def test_the_event_names_the_run_that_failed_though_another_ended_after_it() -> None:
    (notice,) = news_of(_SUCCESS, _CANCELLED)
    assert notice.message == "run r of 2026-01-01T00:00:00Z ended TIMEOUT: it broke"


def test_the_event_of_a_recovered_job_says_how_many_had_failed() -> None:
    (notice,) = news_of(_LOST, _SUCCESS)
    assert notice.message == "run s of no scheduled time ended SUCCESS, after 2 that failed"
