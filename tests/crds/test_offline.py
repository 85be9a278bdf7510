"""Resource files read without a cluster."""

from __future__ import annotations

import re
from typing import Any

import pytest

from piko.errors import ManifestError
from piko_operator.manifests import load_manifests
from tests.crds.cases import CASES, IDS, manifest


@pytest.mark.parametrize(("kind", "case"), CASES, ids=IDS)
def test_offline_check_accepts_and_refuses_by_the_table(kind: str, case: dict[str, Any]) -> None:
    text = manifest(kind, case["spec"])
    if "offline" not in case:
        assert [item.kind for item in load_manifests(text, "jobs.yaml")] == [kind]
        return
    with pytest.raises(ManifestError) as caught:
        load_manifests(text, "jobs.yaml")
    assert case["offline"] in str(caught.value)
    assert re.match(rf"jobs\.yaml, line [1-9][0-9]* \({kind} example\): spec", str(caught.value))


def test_what_the_server_refuses_is_refused_offline() -> None:
    assert [case["name"] for _, case in CASES if "server" in case and "offline" not in case] == []


def test_a_manifest_of_the_wrong_kind_is_named_with_its_remedy() -> None:
    good = manifest("PikoSchedule", {"jobId": "a", "schedule": {"cron": "@daily"}})
    with pytest.raises(ManifestError) as caught:
        load_manifests(good + "---\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: p}\n", "dir/all.yaml")
    assert str(caught.value) == (
        "dir/all.yaml, line 11: apiVersion 'v1', kind 'Pod'; expected apiVersion piko.dev/v1 and kind "
        "PikoSchedule or PikoJobConfig. Remove the document, or keep it in a folder that Piko does not read"
    )


def test_every_bad_field_has_its_own_line() -> None:
    spec = {"jobId": "a", "schedule": {"cron": "@daily"}, "jitter": "25h", "suspend": 1}
    with pytest.raises(ManifestError) as caught:
        load_manifests(manifest("PikoSchedule", spec), "x.yaml")
    assert len(str(caught.value).splitlines()) == 2


def test_text_that_is_not_yaml_is_refused_with_its_place() -> None:
    with pytest.raises(ManifestError, match=r"^x\.yaml, line 1: not YAML: "):
        load_manifests("a: [1", "x.yaml")


def test_a_key_given_twice_is_refused() -> None:
    with pytest.raises(ManifestError, match="'jobId' is given twice"):
        load_manifests("spec: {jobId: a, jobId: b}", "x.yaml")


def test_an_unquoted_instant_is_read_as_its_text() -> None:
    text = manifest("PikoSchedule", {"jobId": "a", "schedule": {"date": {"runDate": "@"}}})
    (resource,) = load_manifests(text.replace("'@'", "2026-01-08 10:00:00"), "x.yaml")
    assert resource.kind == "PikoSchedule"
    assert resource.spec.schedule.date is not None
    assert resource.spec.schedule.date.run_date == "2026-01-08 10:00:00"
