"""What an annotation asks for, and how the status says what was done about it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piko_operator.inventory import JOB_CONFIG, SCHEDULE, Inventory, seen_from
from piko_operator.news import news_of
from piko_operator.resource_actors import triggering
from piko_operator.trigger_annotation import (
    LONGEST_VALUE,
    TRIGGER,
    TriggerAnswer,
    is_answered,
    reported,
    run_id_of,
    shown,
    triggered,
)

_NOW = datetime(2026, 1, 8, 3, tzinfo=UTC)
_OWNER = "prod/data/orders/uid"


@given(value=st.text(max_size=3 * LONGEST_VALUE), other=st.text(max_size=3 * LONGEST_VALUE))
def test_a_value_is_shown_within_its_bound_and_is_still_told_from_others(value: str, other: str) -> None:
    assert len(shown(value)) <= LONGEST_VALUE
    assert (shown(value) == shown(other)) is (value == other)
    assert is_answered({"trigger": {"value": shown(value)}}, value)
    assert is_answered({"trigger": {"value": shown(value)}}, other) is (value == other)


def test_a_status_without_an_answer_answers_nothing() -> None:
    statuses: list[dict[str, Any]] = [{}, {"trigger": None}, {"trigger": {}}, {"trigger": "odd"}]
    for status in statuses:
        assert not is_answered(status, "")


def test_the_run_of_a_value_has_one_id_whoever_asks_and_however_often() -> None:
    run_id = run_id_of(_OWNER, "1")
    assert run_id == run_id_of("prod/data/orders/another-uid", "1"), "a backup brings it back under another"
    others = {
        run_id_of(_OWNER, "2"),
        run_id_of("prod/data/other/uid", "1"),
        run_id_of("prod/other/orders/uid", "1"),
        run_id_of("test/data/orders/uid", "1"),
    }
    assert len({run_id, *others}) == 5
    assert len(run_id) == 32


@pytest.mark.parametrize(
    ("answer", "status", "reason", "text"),
    [
        (
            TriggerAnswer(value="1", at=_NOW, run_id="r", due=_NOW),
            "True",
            "Queued",
            "run r was queued for 2026-01-08T03:00:00Z, as piko.dev/trigger='1' asks",
        ),
        (
            TriggerAnswer(value="1", at=_NOW, refusal="it is stateful"),
            "False",
            "Refused",
            "piko.dev/trigger='1' was not acted on, and is not looked at again: it is stateful",
        ),
    ],
)
def test_a_condition_says_what_was_done(answer: TriggerAnswer, status: str, reason: str, text: str) -> None:
    condition = triggered(reported(answer))
    assert (condition.type, condition.status, condition.reason) == ("Triggered", status, reason)
    assert condition.message == text


def test_each_answer_is_one_event() -> None:
    queued = {"trigger": reported(TriggerAnswer(value="1", at=_NOW, run_id="r", due=_NOW))}
    refused = {"trigger": reported(TriggerAnswer(value="2", at=_NOW, refusal="why"))}
    assert [(item.type, item.reason) for item in news_of({}, queued)] == [("Normal", "Triggered")]
    assert news_of(queued, queued) == []
    assert [(item.type, item.reason) for item in news_of(queued, refused)] == [("Warning", "TriggerRefused")]
    assert news_of({}, {}) == []


def _body(version: int, *, value: str | None, managers: Any = ()) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "namespace": "data",
        "name": "orders",
        "uid": "uid",
        "generation": 1,
        "resourceVersion": str(version),
        "managedFields": list(managers),
    }
    if value is not None:
        metadata["annotations"] = {TRIGGER: value, "other": "x"}
    return {"metadata": metadata, "spec": {"jobId": "job"}}


def test_the_change_log_names_the_program_that_gave_the_annotation_its_value() -> None:
    annotated: dict[str, Any] = {"f:metadata": {"f:annotations": {f"f:{TRIGGER}": {}}}}
    managers = [
        {"manager": "flux", "time": "2026-01-08T03:00:00Z", "fieldsV1": {"f:spec": {"f:jobId": {}}}},
        {"manager": "earlier", "time": "2026-01-08T01:00:00Z", "fieldsV1": annotated},
        {"manager": "kubectl-annotate", "time": "2026-01-08T02:00:00Z", "fieldsV1": annotated},
    ]
    seen = seen_from(_body(1, value="1", managers=managers), kind=SCHEDULE)
    assert (seen.trigger, seen.trigger_manager, seen.manager) == ("1", "kubectl-annotate", "flux")
    actor = triggering(seen, _OWNER, value="1")
    assert (actor.who, actor.via) == ("kubectl-annotate", "resource")
    assert actor.reason == "PikoSchedule data/orders of cluster prod, piko.dev/trigger='1'"
    unknown = seen_from(_body(1, value=None), kind=JOB_CONFIG)
    assert (unknown.trigger, unknown.trigger_manager) == (None, None)


async def test_a_changed_value_is_noticed_although_the_generation_stays() -> None:
    inventory = Inventory()
    inventory.observe(seen_from(_body(1, value="1"), kind=SCHEDULE))
    assert inventory.asking(9) == [], "the mirror comes first"
    inventory.observe(seen_from(_body(2, value="1"), kind=SCHEDULE))
    assert inventory.asking(9) == []
    inventory.observe(seen_from(_body(3, value="2"), kind=SCHEDULE))
    assert (inventory.asking(9), inventory.asked.is_set()) == (["uid"], True)
    inventory.asked_no_more("uid")
    assert inventory.asking(9) == []
