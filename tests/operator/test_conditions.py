"""What the conditions say, by table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piko.model.summaries import ConfigSummary, JobSummary, RevisionSummary
from piko_operator.conditions import (
    MESSAGE_LIMIT,
    config_ready,
    given_up,
    merge_conditions,
    merge_patch,
    outlook,
    ready,
    revision_conditions,
)
from piko_operator.ownership import Condition, synced
from piko_operator.resources import MIRRORED, MODELS
from tests.operator.gitops_states import State, away, states

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_SYNCED = synced("True", "Synced", "yes")
_JOB = JobSummary(
    job_id="a",
    version=3,
    managed_by="o",
    last_data_time=None,
    completed_at=None,
    updated_at=_NOW,
    status="Scheduled",
    message=None,
    observed_version=3,
    next_run_at=None,
    last_run_id=None,
    last_state=None,
    last_scheduled_time=None,
    last_started_at=None,
    last_duration_s=None,
    last_error=None,
    last_success_at=None,
    last_failure_at=None,
    consecutive_failures=0,
    given_up_from=None,
    given_up_to=None,
)
_ROW = ConfigSummary(job_id="a", version=2, managed_by="o", effective_from=None, updated_at=_NOW)


def _revision(number: int, **values: Any) -> RevisionSummary:
    plain = RevisionSummary(
        job_id="a", revision=number, row_version=number, effective_from=None, error=None, created_at=_NOW
    )
    return replace(plain, **values)


@pytest.mark.parametrize(
    ("condition", "job", "status", "reason"),
    [
        (_SYNCED, _JOB, "True", "Scheduled"),
        (_SYNCED, replace(_JOB, observed_version=None), "True", "Scheduled"),
        (_SYNCED, replace(_JOB, observed_version=2), "Unknown", "Pending"),
        (_SYNCED, replace(_JOB, status=None), "Unknown", "Pending"),
        (_SYNCED, None, "Unknown", "Pending"),
        (_SYNCED, replace(_JOB, status="Invalid", message="why"), "False", "Invalid"),
        (_SYNCED, replace(_JOB, status="Unregistered"), "False", "Unregistered"),
        (_SYNCED, replace(_JOB, status="Disabled"), "True", "Disabled"),
        (_SYNCED, replace(_JOB, status="Completed"), "True", "Completed"),
        (synced("False", "Drifted", "edited"), _JOB, "True", "Scheduled"),
        (synced("False", "Conflict", "other"), None, "False", "NotSynced"),
        (synced("Unknown", "DatabaseUnavailable", "away"), None, "Unknown", "DatabaseUnavailable"),
    ],
)
def test_ready_follows_the_runtimes_verdict(
    condition: Condition, job: JobSummary | None, status: str, reason: str
) -> None:
    found = ready(condition, job)
    assert (found.status, found.reason) == (status, reason)
    assert found.message


@pytest.mark.parametrize(
    ("revisions", "valid", "effective"),
    [
        ([], "Unknown Pending", "Unknown Pending"),
        ([_revision(1)], "Unknown Pending", "Unknown Pending"),
        ([_revision(1), _revision(2)], "True Valid", "True InForce"),
        ([_revision(1), _revision(2, error="bad")], "False Invalid", "False Invalid"),
        ([_revision(1), _revision(2, warning="misspelt")], "True Warning", "True InForce"),
        (
            [_revision(1), _revision(2, effective_from=_NOW + timedelta(days=1))],
            "True Valid",
            "False Waiting",
        ),
        ([_revision(1), _revision(2, effective_from=_NOW)], "True Valid", "True InForce"),
        (
            [_revision(1, effective_from=_NOW - timedelta(hours=1)), _revision(2, effective_from=_NOW)],
            "True Valid",
            "True InForce",
        ),
    ],
)
def test_a_config_is_valid_and_in_force_as_its_revisions_say(
    revisions: list[RevisionSummary], valid: str, effective: str
) -> None:
    found = revision_conditions(_SYNCED, _ROW, revisions, _NOW)
    assert [f"{item.status} {item.reason}" for item in found] == [valid, effective]


def test_a_condition_says_what_a_valid_config_leaves_out_and_how_much_there_is_of_what_does_not_fit() -> None:
    valid, _ = revision_conditions(_SYNCED, _ROW, [_revision(2, warning="siz: no such key")], _NOW)
    assert valid.message == "the job's own model accepts it, with a warning: siz: no such key"
    invalid = revision_conditions(_SYNCED, _ROW, [_revision(2, error="bad: " + "x" * 1_600_000)], _NOW)
    for item in merge_conditions(None, invalid, 1, _NOW):
        assert len(item["message"].encode()) <= MESSAGE_LIMIT
    assert "bytes …" in merge_conditions(None, invalid, 1, _NOW)[0]["message"]


def test_the_time_of_a_condition_moves_only_with_its_status() -> None:
    first = merge_conditions(None, [_SYNCED], 1, _NOW)
    later = merge_conditions(first, [replace(_SYNCED, message="still")], 2, _NOW + timedelta(hours=1))
    assert later[0]["lastTransitionTime"] == "2026-01-01T00:00:00Z"
    assert (later[0]["message"], later[0]["observedGeneration"]) == ("still", 2)
    turned = merge_conditions(later, [synced("False", "Conflict", "no")], 2, _NOW + timedelta(hours=2))
    assert turned[0]["lastTransitionTime"] == "2026-01-01T02:00:00Z"


def test_a_condition_that_nothing_is_said_of_stays() -> None:
    first = merge_conditions(None, [_SYNCED, ready(_SYNCED, _JOB)], 1, _NOW)
    assert [item["type"] for item in merge_conditions(first, [_SYNCED], 2, _NOW)] == ["Synced", "Ready"]


def test_what_says_that_something_is_out_of_order_is_there_only_while_it_is() -> None:
    stuck = Condition(type="Stalled", status="True", reason="Conflict", message="no")
    first = merge_conditions(None, [_SYNCED, stuck, given_up(None)], 1, _NOW)
    assert [item["type"] for item in first] == ["Synced", "Stalled"]
    later = merge_conditions(first, [_SYNCED, replace(stuck, status="False"), given_up(None)], 1, _NOW)
    assert [item["type"] for item in later] == ["Synced"]
    again = merge_conditions(later, [_SYNCED, stuck], 1, _NOW + timedelta(hours=1))
    assert again[1]["lastTransitionTime"] == "2026-01-01T01:00:00Z"


_JSON_VALUES = st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)
_JSON = st.recursive(
    st.dictionaries(st.sampled_from("abc"), _JSON_VALUES, max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), _JSON_VALUES | inner, max_size=3),
    max_leaves=6,
)


def _apply(old: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _apply(result.get(name), value)
    return result


@given(_JSON, _JSON)
def test_a_merge_patch_makes_the_new_of_the_old_and_is_empty_for_the_same(old: Any, new: Any) -> None:
    assert _apply(old, merge_patch(old, new)) == new
    assert merge_patch(new, new) == {}


def test_data_that_a_bound_dropped_is_a_condition_with_the_line_that_runs_it() -> None:
    assert (given_up(_JOB).status, given_up(None).status) == ("False", "False")
    found = given_up(replace(_JOB, given_up_from=_NOW, given_up_to=_NOW + timedelta(hours=3)))
    assert (found.type, found.status, found.reason) == ("DataGivenUp", "True", "BeyondBound")
    line = "piko backfill a --from 2026-01-01T00:00:00Z --to 2026-01-01T03:00:00Z"
    assert found.message.endswith(line)


def _condition(status: str, reason: str) -> Condition:
    return Condition(type="Ready", status=status, reason=reason, message="why")


@pytest.mark.parametrize(
    ("synced_by", "is_ready", "minutes", "expected"),
    [
        (_SYNCED, _condition("True", "Scheduled"), 0, "settled"),
        (_SYNCED, _condition("True", "Disabled"), 0, "settled"),
        (synced("False", "Drifted", "edited"), _condition("True", "Scheduled"), 0, "settled"),
        (_SYNCED, _condition("False", "Invalid"), 0, "stalled"),
        (synced("False", "InvalidSpec", "x"), _condition("False", "NotSynced"), 0, "stalled"),
        (synced("False", "Conflict", "x"), _condition("False", "NotSynced"), 0, "stalled"),
        (synced("False", "RowNotManaged", "x"), _condition("False", "NotSynced"), 0, "stalled"),
        (_SYNCED, _condition("False", "Unregistered"), 4, "reconciling"),
        (_SYNCED, _condition("False", "Unregistered"), 5, "stalled"),
        (synced("False", "SecretUnavailable", "x"), _condition("False", "NotSynced"), 1, "reconciling"),
        (synced("False", "SecretUnavailable", "x"), _condition("False", "NotSynced"), 9, "stalled"),
        (_SYNCED, _condition("Unknown", "Pending"), 600, "reconciling"),
        (
            synced("Unknown", "DatabaseUnavailable", "x"),
            _condition("Unknown", "DatabaseUnavailable"),
            600,
            "unknown",
        ),
    ],
)
def test_stalled_is_what_needs_a_person_and_reconciling_what_does_not(
    synced_by: Condition, is_ready: Condition, minutes: int, expected: str
) -> None:
    previous = merge_conditions(None, [is_ready], 1, _NOW)
    found = outlook(synced_by, is_ready, previous=previous, now=_NOW + timedelta(minutes=minutes))
    states = {
        "settled": ["False", "False"],
        "stalled": ["True", "False"],
        "reconciling": ["False", "True"],
        "unknown": ["Unknown", "True"],
    }
    assert [item.status for item in found] == states[expected]
    cause = is_ready if synced_by.status == "True" or synced_by.reason == "Drifted" else synced_by
    assert {item.reason for item in found} == {cause.reason}


@pytest.mark.parametrize(
    ("condition", "revisions", "expected"),
    [
        (_SYNCED, [_revision(2)], "True Valid runs use revision 2"),
        (_SYNCED, [_revision(1), _revision(2, error="b: too large")], "False Invalid b: too large"),
        (
            _SYNCED,
            [_revision(2, effective_from=_NOW + timedelta(days=1))],
            "True Valid revision 2 takes",
        ),
        (_SYNCED, [], "Unknown Pending no replica"),
        (synced("False", "Conflict", "other"), [_revision(2)], "False NotSynced see the condition Synced"),
        (synced("Unknown", "DatabaseUnavailable", "away"), [], "Unknown DatabaseUnavailable away"),
    ],
)
def test_a_config_is_ready_when_the_job_takes_it(
    condition: Condition, revisions: list[RevisionSummary], expected: str
) -> None:
    valid, effective = revision_conditions(condition, _ROW, revisions, _NOW)
    found = config_ready(condition, valid, effective)
    assert f"{found.status} {found.reason} {found.message}".startswith(expected)


@pytest.mark.parametrize(
    "state", [state for state in states() if state.kind in MIRRORED], ids=lambda state: state.name
)
def test_the_database_away_turns_nothing_false(state: State) -> None:
    before, after = _by_type(state.status or {}), _by_type(away(state.status or {}))
    turned = {name for name, status in after.items() if status == "False" != before.get(name)}
    assert turned == set()
    assert after["Ready"] == after["Stalled"] == "Unknown"


def test_the_states_that_are_tried_are_of_every_kind() -> None:
    assert {state.kind for state in states()} == set(MODELS)


def _by_type(status: Mapping[str, Any]) -> dict[str, str]:
    return {item["type"]: item["status"] for item in status.get("conditions", [])}
