"""Resource files read without a cluster."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from piko.errors import ManifestError
from piko_operator.manifests import LARGEST_FILE, load_manifests, read_manifests
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
        "PikoSchedule, PikoJobConfig or PikoBackfill. Remove the document, or keep it in a folder that Piko "
        "does not read"
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


def test_a_misspelt_field_or_kind_is_reported_with_what_was_meant() -> None:
    spec = {"jobID": "a", "schedule": {"cron": {"minuet": 5}}, "overlap": {"polcy": "Skip"}, "zzz": 1}
    contents = read_manifests(manifest("PikoSchedule", spec).encode(), "x.yaml")
    said = [problem.message for problem in contents.problems]
    assert "spec.jobID: unknown field; did you mean `jobId`?" in said
    assert "spec.schedule.cron.minuet: unknown field; did you mean `minute`?" in said
    assert "spec.overlap.polcy: unknown field; did you mean `policy`?" in said
    assert any(message.startswith("spec.zzz: unknown field; remove it") for message in said)
    (kind,) = read_manifests(b"apiVersion: piko.dev/v1\nkind: PikoShedule\n", "x.yaml").problems
    assert kind.message.endswith("; did you mean `PikoSchedule`?")


def test_each_problem_names_the_line_of_its_field() -> None:
    text = (
        "# jobs\n---\napiVersion: piko.dev/v1\nkind: PikoSchedule\nmetadata: {name: x}\nspec:\n  jobId: x\n"
    )
    text += "  schedule:\n    interval:\n      every: often\n  suspend: maybe\n---\napiVersion: v1\n"
    contents = read_manifests(text.encode(), "x.yaml")
    assert [problem.line for problem in contents.problems] == [10, 11, 13]


def test_a_list_is_unfolded_as_kubectl_writes_it() -> None:
    items = [json.loads(_json("PikoSchedule", f"job{number}")) for number in range(3)]
    items[1]["spec"]["schedule"] = {"cron": "often"}
    text = json.dumps({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items}, indent=1)
    contents = read_manifests(text.encode(), "all.json")
    assert [placed.resource.metadata.name for placed in contents.resources] == ["job0", "job2"]
    (problem,) = contents.problems
    assert (problem.name, text.splitlines()[(problem.line or 0) - 1].strip()) == ("job1", '"cron": "often"')


def test_of_many_problems_the_first_are_reported() -> None:
    spec = {"jobId": "a", "schedule": {"cron": "@daily"}, **{f"x{number}": 1 for number in range(5000)}}
    contents = read_manifests(manifest("PikoSchedule", spec).encode(), "x.yaml")
    assert len(contents.problems) == 21
    assert "and 4980 more problems" in {problem.message for problem in contents.problems}


def _json(kind: str, name: str) -> str:
    spec = {"jobId": name, "schedule": {"cron": "@daily"}}
    metadata = {"name": name, "uid": "u", "resourceVersion": "7"}
    return json.dumps({"apiVersion": "piko.dev/v1", "kind": kind, "metadata": metadata, "spec": spec})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfea", "x.yaml, line 1: not UTF-8 text: byte 0xff"),
        (b"a: 1\nb: \xe9\n", "x.yaml, line 2: not UTF-8 text: byte 0xe9"),
        (b"\x00" * 10, "x.yaml, line 1: not YAML: "),
        (b"#" * (LARGEST_FILE + 1), "x.yaml: larger than 4 MiB, so it is not read; split it"),
    ],
)
def test_what_is_no_text_or_too_much_of_it_is_a_problem_of_the_file(content: bytes, said: str) -> None:
    (problem,) = read_manifests(content, "x.yaml").problems
    assert str(problem).startswith(said)


def test_a_problem_is_short_whatever_it_names() -> None:
    long = "x" * 5000
    texts = (
        f"a: 1\n{long}: 1\n{long}: 2\n",
        f"a: *{long}\n",
        f"{long}",
        f"kind: {long}",
        f"a: !!int {long}\n",
    )
    spec = {"jobId": "a", "schedule": {"cron": {long: 1}}, long: 1, "timeZone": long}
    for text in (*texts, manifest("PikoSchedule", spec, name=long)):
        problems = read_manifests(text.encode(), "x.yaml").problems
        assert problems
        assert max(len(str(problem)) for problem in problems) < 800


def test_of_a_file_of_problems_the_first_are_reported() -> None:
    contents = read_manifests(b"kind: PikoSchedule\n---\n" * 5000, "x.yaml")
    assert len(contents.problems) == 201
    assert "x.yaml: too many problems; the rest of the file is not checked" in map(str, contents.problems)
