"""What the change log says of an edited row: what differs, and never a secret."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piko.model.config_schema import HIDDEN
from piko.model.row_edits import row_edit

_SCHEDULE: dict[str, object] = {
    "schedule_type": "cron",
    "schedule_expr": '"@hourly"',
    "enabled": True,
    "priority": 0,
    "timezone": None,
    "paused_until": None,
}
_SECRET = {"type": "string", "writeOnly": True}
_SCHEMA = {
    "properties": {
        "limit": {"type": "integer"},
        "token": _SECRET,
        "db": {"properties": {"host": {"type": "string"}, "password": _SECRET}},
    }
}


def _config(document: Any, secret: str | None = None) -> dict[str, object]:
    return {"config_json": json.dumps(document), "secret_json": secret, "updated_by": None}


def test_only_the_columns_that_differ_are_said() -> None:
    edit = row_edit("schedule", _SCHEDULE, {**_SCHEDULE, "priority": 7, "timezone": "Asia/Shanghai"})
    assert edit is not None
    assert edit.what == "edit_schedule"
    assert edit.before == {"priority": 0, "timezone": None}
    assert edit.after == {"priority": 7, "timezone": "Asia/Shanghai"}


@pytest.mark.parametrize(
    ("edited", "what"),
    [
        ({"enabled": False}, "pause"),
        ({"enabled": False, "paused_until": "2026-01-01T00:00:00Z"}, "pause"),
        ({"enabled": False, "priority": 1}, "edit_schedule"),
        ({"paused_until": "2026-01-01T00:00:00Z"}, "edit_schedule"),
    ],
)
def test_a_switch_is_called_what_people_call_it(edited: dict[str, object], what: str) -> None:
    edit = row_edit("schedule", _SCHEDULE, {**_SCHEDULE, **edited})
    assert edit is not None
    assert edit.what == what
    back = row_edit("schedule", {**_SCHEDULE, **edited}, _SCHEDULE)
    assert back is not None
    assert back.what == {"pause": "resume"}.get(what, what)


def test_a_new_row_is_said_without_its_defaults_and_a_deleted_one_as_it_was() -> None:
    new = row_edit("schedule", None, _SCHEDULE)
    old = row_edit("schedule", _SCHEDULE, None)
    assert new is not None
    assert old is not None
    assert (new.what, new.before, old.what, old.after) == ("create_schedule", None, "delete_schedule", None)
    assert new.after == old.before == {"schedule_type": "cron", "schedule_expr": '"@hourly"'}
    assert row_edit("schedule", None, None) is None


def test_a_config_is_said_by_path() -> None:
    before = _config({"limit": 1, "db": {"host": "a"}, "old": True})
    after = _config({"db": {"host": "b"}, "limit": 1, "new": [1, 2]})
    edit = row_edit("config", before, after, schema=_SCHEMA)
    assert edit is not None
    assert edit.before == {"config_json.db.host": "a", "config_json.old": True}
    assert edit.after == {"config_json.db.host": "b", "config_json.new": [1, 2]}


def test_a_secret_is_said_to_differ_and_not_shown() -> None:
    before = _config({"token": "t0p", "db": {"password": "s3cret"}}, "hash-1")
    after = _config({"token": "t1p", "db": {"password": "s4cret"}}, "hash-2")
    edit = row_edit("config", before, after, schema=_SCHEMA)
    assert edit is not None
    names = ("config_json.token", "config_json.db.password", "secret_json")
    assert edit.before == edit.after == dict.fromkeys(names, HIDDEN)


def test_a_value_whose_name_sounds_secret_is_not_shown_though_no_model_declares_it() -> None:
    edit = row_edit("config", _config({}), _config({"api_key": {"a": "t0p"}, "limit": 1}), schema={})
    assert edit is not None
    assert edit.after == {"config_json.api_key": HIDDEN, "config_json.limit": 1}


def test_without_a_model_no_value_of_a_config_is_shown() -> None:
    edit = row_edit("config", _config({"token": "t0p"}), _config({"token": "t1p"}), schema=None)
    assert edit is not None
    assert edit.after == {"config_json.token": HIDDEN}


def test_the_same_config_in_other_words_is_no_edit() -> None:
    before, after = _config({"a": 1, "b": 2}), {**_config({}), "config_json": '{"b":2,\n"a":1}'}
    assert row_edit("config", before, after, schema={}) is None


_documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just("S3CRET"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)


@given(_documents, _documents)
def test_what_a_model_declares_secret_never_leaves_it_whatever_its_shape(before: Any, after: Any) -> None:
    schema = {"properties": {"x": {"writeOnly": True}}}
    edit = row_edit("config", _config({"x": before}), _config({"x": after}), schema=schema)
    assert "S3CRET" not in repr(edit)


@given(
    st.dictionaries(st.sampled_from("abc"), _documents), st.dictionaries(st.sampled_from("abc"), _documents)
)
def test_an_edit_is_said_if_and_only_if_something_differs(before: Any, after: Any) -> None:
    edit = row_edit("config", _config(before), _config(after), schema={})
    assert (edit is None) == (json.dumps(before, sort_keys=True) == json.dumps(after, sort_keys=True))
