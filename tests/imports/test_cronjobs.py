"""CronJobs of Kubernetes as resources: what is translated, what is left, and why."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from piko.imports.cronjobs import read_cronjobs
from piko.imports.translations import Translated, checked, yaml_of
from piko_operator.manifests import load_manifests

NOW = datetime(2026, 1, 8, tzinfo=UTC)


def cronjob(name: str = "report", *, job: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name},
        "spec": {"schedule": "0 2 * * *", "jobTemplate": {"spec": job or {}}, **spec},
    }


def translated(**spec: Any) -> Translated:
    found, left = read_cronjobs(json.dumps(cronjob(**spec)))
    assert left == []
    (item,) = found
    assert isinstance(checked(item, zone="UTC", now=NOW), Translated)
    return item


def why_left(**spec: Any) -> str:
    found, left = read_cronjobs(json.dumps(cronjob(**spec)))
    assert found == []
    (item,) = left
    assert item.what == "CronJob report"
    return item.why


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({"schedule": "@hourly"}, {"schedule": {"cron": "@hourly"}}),
        ({"schedule": "@every 1h30m"}, {"schedule": {"interval": {"every": "1h30m"}}}),
        ({"schedule": "0 9 ? * 1-5"}, {"schedule": {"cron": "0 9 * * 1-5"}}),
        ({"schedule": "TZ=Asia/Tokyo 0 9 * * *"}, {"timeZone": "Asia/Tokyo"}),
        ({"timeZone": "Europe/Berlin"}, {"timeZone": "Europe/Berlin"}),
        ({"suspend": True}, {"suspend": True}),
        ({}, {"overlap": {"policy": "Allow"}}),
        ({"concurrencyPolicy": "Forbid"}, {"overlap": {"policy": "Skip"}}),
        ({"concurrencyPolicy": "Replace"}, {"overlap": {"policy": "Replace"}}),
        ({"startingDeadlineSeconds": 600}, {"misfireGrace": "600s"}),
        ({"failedJobsHistoryLimit": 0}, {"history": {"failed": 0}}),
        (
            {"successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1},
            {"history": {"successful": 3, "failed": 1}},
        ),
        ({"job": {"activeDeadlineSeconds": 3600}}, {"timeout": "3600s"}),
        ({"job": {"backoffLimit": 2}}, {"retry": {"maxAttempts": 3}}),
    ],
)
def test_a_field_that_has_a_counterpart_is_translated(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    spec = translated(**theirs).spec
    assert {key: spec[key] for key in ours} == ours


def test_a_field_that_a_cronjob_lacks_is_left_to_its_default() -> None:
    assert translated().spec.keys() == {"schedule", "overlap"}


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        ({}, "It had no zone"),
        ({}, "It had no startingDeadlineSeconds"),
        ({"job": {"parallelism": 3}}, "It had parallelism: 3"),
        (
            {
                "job": {
                    "template": {"spec": {"containers": [{"image": "shop:1", "command": ["a"], "args": [1]}]}}
                }
            },
            "Its container ran: shop:1 a 1",
        ),
    ],
)
def test_what_the_resource_does_not_hold_is_noted(theirs: dict[str, Any], said: str) -> None:
    assert any(said in note for note in translated(**theirs).notes)


@pytest.mark.parametrize(
    ("theirs", "why"),
    [
        ({"schedule": "0 0 */10 * 5"}, "either day was enough"),
        ({"schedule": "0 0 13 * */2"}, "either day was enough"),
        ({"schedule": "0 2 * *"}, "has 4 fields; expected five"),
        ({"schedule": 5}, "expected texts"),
        ({"concurrencyPolicy": "Queue"}, "expected Allow, Forbid, Replace"),
        ({"startingDeadlineSeconds": "soon"}, "startingDeadlineSeconds = 'soon': expected a whole number"),
        ({"job": {"backoffLimit": -1}}, "backoffLimit = -1: expected a whole number"),
    ],
)
def test_what_differs_or_is_malformed_is_left_with_the_reason(theirs: dict[str, Any], why: str) -> None:
    assert why in why_left(**theirs)


def test_a_list_has_its_items_and_other_kinds_are_passed_over() -> None:
    other = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}
    items = {"apiVersion": "v1", "kind": "List", "items": [cronjob("a"), other, cronjob("b", schedule="x")]}
    found, left = read_cronjobs(yaml.safe_dump_all([other, items, cronjob("c")]))
    assert [item.name for item in found] == ["a", "c"]
    assert [item.what for item in left] == ["CronJob b"]


def test_a_document_that_cannot_be_read_is_left_and_the_others_are_read() -> None:
    found, left = read_cronjobs(f"{yaml.safe_dump(cronjob('a'))}---\n*nothing\n")
    assert [item.name for item in found] == ["a"]
    assert len(left) == 1


def test_what_is_written_is_read_back_and_a_comment_stays_one() -> None:
    nasty = cronjob("b", job={"template": {"spec": {"containers": [{"image": "x\nkind: Secret\n---"}]}}})
    found, _ = read_cronjobs(yaml.safe_dump_all([cronjob("a", timeZone="Asia/Tokyo"), nasty]))
    written = "\n".join(yaml_of(found, "jobs.yaml"))
    assert [resource.metadata.name for resource in load_manifests(written, "written")] == ["a", "b"]
    assert written.startswith("# jobs.yaml, line 8: CronJob a, 0 2 * * *\n")
