"""Row to resource and back: what is exported becomes the same row, or it is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piko.errors import ManifestError
from piko.model.configs import ConfigContent
from piko.model.schedules import ScheduleOptions
from piko_operator.documents import Node, read_documents, yaml_text
from piko_operator.from_rows import config_document, means_the_same, schedule_document
from piko_operator.manifests import load_manifests
from piko_operator.mapping import config_row, schedule_row
from piko_operator.resources import PikoJobConfig, PikoSchedule

_METADATA = {"name": "a"}
_EXPRESSIONS = {
    "cron": (
        '"*/5 * * * *"', '{"cron": " 0 2 * * * "}', '{"cron": "H 3 * * 1-5"}', '{"cron": "@daily"}',
        '{"hour": 2, "minute": "30", "day_of_week": "mon-fri"}', '{"day": "last", "month": "jan,jul"}',
    ),
    "interval": (
        '{"seconds": 10}', '{"seconds": 0.5}', '{"minutes": 1, "seconds": 0.000001}', '{"every": "1h30m"}',
        '{"weeks": 1, "start_date": "2026-01-01"}', '{"hours": 1, "end_date": "2046-01-01T00:00:00+08:00"}',
    ),
    "date": ('{"run_date": "2046-01-08 10:00:00"}', '{"run_date": "2046-01-08T10:00:00+08:00"}'),
}  # fmt: skip


def _seconds(least: float = 0.0, most: float = 86_400.0) -> st.SearchStrategy[float]:
    return st.integers(round(least * 1_000_000), round(most * 1_000_000)).map(lambda n: n / 1_000_000)


_LONG = _seconds(0.000001, 9e6)
_INSTANTS = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)).map(  # noqa: DTZ001 as hypothesis wants
    lambda moment: moment.replace(tzinfo=UTC)
)


@st.composite
def _schedules(draw: st.DrawFn) -> ScheduleOptions:
    kind = draw(st.sampled_from(sorted(_EXPRESSIONS)))
    backoff = draw(_seconds(0.0, 9e5))
    group = draw(st.none() | st.sampled_from(["g", "a b", "yes", "1e3", "12:30", "ü: #"]))
    return ScheduleOptions(
        job_id=draw(st.from_regex(r"\A[A-Za-z0-9_.:-]{1,40}\Z")),
        schedule_type=kind,
        schedule_expr=draw(st.sampled_from(_EXPRESSIONS[kind])),
        timezone=draw(st.sampled_from([None, "UTC", "Asia/Shanghai", "America/New_York"])),
        enabled=draw(st.booleans()),
        start_at=draw(st.none() | _INSTANTS),
        end_at=draw(st.none() | st.just(datetime(2047, 1, 1, microsecond=1, tzinfo=UTC))),
        jitter_s=draw(_seconds()),
        misfire_grace_s=draw(_seconds(0.0, 9e6)),
        coalesce=draw(st.booleans()),
        overlap_policy=draw(st.sampled_from(["skip", "queue", "queue_all", "replace", "allow"])),
        max_instances=draw(st.integers(1, 100_000)),
        concurrency_group=group,
        concurrency_limit=None if group is None else draw(st.none() | st.integers(1, 100_000)),
        priority=draw(st.integers(-1_000_000, 1_000_000)),
        timeout_s=draw(st.none() | _LONG),
        max_attempts=draw(st.none() | st.integers(1, 1000)),
        retry_backoff_s=backoff,
        retry_max_backoff_s=backoff + draw(st.integers(0, 1000)),
        backfill_policy=draw(st.sampled_from([None, "CATCH_UP", "SKIP"])),
        max_lookback_s=draw(st.none() | _LONG),
        backfill_max_windows=draw(st.none() | st.integers(1, 100_000)),
        history_successful=draw(st.integers(0, 1_000_000)),
        history_failed=draw(st.integers(0, 1_000_000)),
        data_within_s=draw(st.none() | _LONG),
        start_within_s=draw(st.none() | _LONG),
        finish_within_s=draw(st.none() | _LONG),
    )


def _comparable(row: ScheduleOptions) -> dict[str, Any]:
    """The columns that people write, but for how the expression is spelled; seconds as they are stored."""
    return {
        name: round(value, 6) if isinstance(value, float) else value
        for name in ScheduleOptions.__dataclass_fields__
        if name != "schedule_expr"
        for value in [getattr(row, name)]
    }


def _applied(document: dict[str, Any]) -> Any:
    """The resource that a person applies: what is printed, read as kubectl reads it."""
    (resource,) = load_manifests(yaml_text(document), "printed")
    return resource


@given(_schedules())
def test_an_exported_schedule_becomes_the_same_row(row: ScheduleOptions) -> None:
    rounded = ScheduleOptions(**{**_comparable(row), "schedule_expr": row.schedule_expr})
    document = schedule_document(rounded, metadata=_METADATA, extra={})
    again = schedule_row(_applied(document), owner=None)
    assert _comparable(again) == _comparable(row)
    assert means_the_same(again, row)
    assert schedule_document(again, metadata=_METADATA, extra={}) == schedule_document(
        schedule_row(_applied(document), owner=None), metadata=_METADATA, extra={}
    )


_MISREAD = (
    "yes", "No", "1e3", "0o7", "010", "1_0", "12:30:00", "2026-01-08", "~", "null", ".inf", "=", "<<", "- a",
    "a: b", "a #b", " a", "a\n b", "\x85", "\u2028",
)  # fmt: skip
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(_MISREAD)
_NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(-1e15, 1e15)
_JSON = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(_TEXTS, _JSON, max_size=4), st.none() | _INSTANTS, st.integers(1, 2**31 - 1))
def test_an_exported_config_becomes_the_same_row(
    config: dict[str, Any], effective: datetime | None, version: int
) -> None:
    row = ConfigContent(
        job_id="a", schema_version=version, config_json=json.dumps(config), effective_from=effective
    )
    document = config_document(row, metadata=_METADATA, extra={})
    again = config_row(_applied(document), owner=None)
    assert json.loads(again.config_json) == config
    assert (again.schema_version, again.effective_from) == (version, effective)


@given(st.dictionaries(_TEXTS, _JSON, min_size=1, max_size=4))
def test_what_is_written_as_yaml_is_read_as_it_was(value: dict[str, Any]) -> None:
    (found,) = read_documents(yaml_text(value))
    assert isinstance(found, Node)
    assert found.value == value


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"max_instances": 100_001}, "spec.overlap.maxInstances: 100001"),
        ({"concurrency_limit": 2}, "groupLimit needs group"),
        ({"timeout_s": 0.00000012}, "expected a duration longer than 0"),
        ({"timeout_s": 1.00000012}, "timeout_s is 1.00000012, of which a resource would make 1.0"),
        ({"misfire_grace_s": 1e10}, "expected a duration of at most"),
        ({"schedule_expr": '{"cron": "61 * * * *"}'}, "its schedule cannot be used"),
        ({"schedule_expr": '{"cron": "TZ=UTC 0 * * * *"}'}, "the zone goes into spec.timeZone"),
        ({"schedule_expr": "5"}, "schedule_expr is not an object"),
        ({"schedule_type": "interval", "schedule_expr": '{"seconds": 0.5, "days": "x"}'}, "is no interval"),
        ({"job_id": "a b"}, "spec.jobId"),
    ],
)
def test_a_row_that_no_resource_becomes_is_refused_with_the_reason(columns: dict[str, Any], why: str) -> None:
    row = ScheduleOptions(**{"job_id": "a", "schedule_type": "cron", "schedule_expr": '"@daily"', **columns})
    with pytest.raises(ManifestError) as caught:
        schedule_document(row, metadata=_METADATA, extra={})
    assert why in str(caught.value)


def test_what_goes_without_saying_is_left_out() -> None:
    row = ScheduleOptions(job_id="a", schedule_type="cron", schedule_expr='"@daily"')
    document = schedule_document(row, metadata=_METADATA, extra={"adoptionPolicy": "Adopt"})
    assert document["spec"] == {"jobId": "a", "schedule": {"cron": "@daily"}, "adoptionPolicy": "Adopt"}
    assert isinstance(_applied(document), PikoSchedule)
    config = config_document(
        ConfigContent(job_id="a", config_json="{}"), metadata=_METADATA, extra={"className": "c"}
    )
    assert config["spec"] == {"jobId": "a", "className": "c"}
    assert isinstance(_applied(config), PikoJobConfig)
