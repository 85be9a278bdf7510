"""The definitions on a real API server: what kubectl accepts, how it refuses, what it prints."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.crds.cases import CASES, IDS, manifest
from tests.harness.control_plane import ControlPlane
from tests.harness.waiting import wait_until


@pytest.mark.parametrize(("kind", "case"), CASES, ids=IDS)
def test_apply_accepts_and_refuses_by_the_table(crds: ControlPlane, kind: str, case: dict[str, Any]) -> None:
    text = manifest(kind, case["spec"])
    outcome = crds.kubectl("create", "--dry-run=server", "-f", "-", input=text, check=False)
    if "server" in case:
        assert outcome.returncode != 0, f"accepted, although expected to be refused with {case['server']!r}"
        assert case["server"] in outcome.stderr
    else:
        assert outcome.returncode == 0, outcome.stderr


def test_a_job_id_cannot_be_changed(crds: ControlPlane, namespace: str) -> None:
    spec = {"jobId": "a", "schedule": {"cron": "@daily"}}
    crds.kubectl("apply", "-n", namespace, "-f", "-", input=manifest("PikoSchedule", spec))
    changed = manifest("PikoSchedule", spec | {"jobId": "b"})
    outcome = crds.kubectl("apply", "-n", namespace, "-f", "-", input=changed, check=False)
    assert "spec.jobId" in outcome.stderr
    assert "jobId is immutable: delete this resource and create another" in outcome.stderr


def test_the_resource_of_a_job_is_found_by_the_job(crds: ControlPlane, namespace: str) -> None:
    spec = {"jobId": "a", "schedule": {"cron": "@daily"}}
    crds.kubectl("apply", "-n", namespace, "-f", "-", input=manifest("PikoSchedule", spec))
    select = ("get", "psch", "-n", namespace, "-o", "name", "--field-selector")
    assert crds.kubectl(*select, "spec.jobId=a").stdout.split() == ["pikoschedule.piko.dev/example"]
    assert crds.kubectl(*select, "spec.jobId=b").stdout == ""


def test_a_schedule_may_change_its_kind(crds: ControlPlane, namespace: str) -> None:
    cron = manifest("PikoSchedule", {"jobId": "a", "schedule": {"cron": "@daily"}})
    crds.kubectl("apply", "-n", namespace, "-f", "-", input=cron)
    interval = manifest("PikoSchedule", {"jobId": "a", "schedule": {"interval": {"every": "10s"}}})
    crds.kubectl("apply", "-n", namespace, "-f", "-", input=interval)
    shown = json.loads(crds.kubectl("get", "psch", "example", "-n", namespace, "-o", "json").stdout)
    assert shown["spec"]["schedule"] == {"interval": {"every": "10s"}}


def test_defaults_are_filled_in_at_apply(crds: ControlPlane, namespace: str) -> None:
    text = manifest("PikoSchedule", {"jobId": "a", "schedule": {"cron": "@daily"}})
    crds.kubectl("apply", "-n", namespace, "-f", "-", input=text)
    spec = json.loads(crds.kubectl("get", "psch", "example", "-n", namespace, "-o", "json").stdout)["spec"]
    assert spec["overlap"] == {"policy": "Skip", "maxInstances": 1}
    assert spec["retry"] == {"backoff": "10s", "maxBackoff": "5m"}
    assert spec["backfill"] == {}
    assert (spec["adoptionPolicy"], spec["driftPolicy"], spec["deletionPolicy"]) == (
        "Refuse",
        "Enforce",
        "Delete",
    )


def test_get_prints_job_schedule_zone_and_runs(crds: ControlPlane, namespace: str) -> None:
    text = manifest(
        "PikoSchedule", {"jobId": "sync", "schedule": {"cron": "0 * * * *"}, "timeZone": "Asia/Shanghai"}
    )
    crds.kubectl("apply", "-n", namespace, "-f", "-", input=text)
    status = {
        "schedule": "0 * * * *",
        "nextRunTime": "2030-01-01T00:00:00Z",
        "conditions": [
            {
                "type": kind,
                "status": "True",
                "reason": reason,
                "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
            for kind, reason in (("Synced", "Synced"), ("Ready", "Scheduled"))
        ],
        "lastRun": {"state": "SUCCESS", "startTime": "2026-01-01T00:00:00Z"},
    }
    patch = json.dumps({"status": status})
    crds.kubectl(
        "patch", "psch", "example", "-n", namespace, "--subresource=status", "--type=merge", "-p", patch
    )

    def printed() -> list[str] | None:
        lines = crds.kubectl("get", "psch", "-n", namespace).stdout.splitlines()
        return lines if lines and "SUCCESS" in lines[1] else None

    header, line = wait_until(printed, what="the printed status")
    for column in ("LAST STATE", "LAST RUN", "NEXT RUN"):
        header = header.replace(column, column.replace(" ", "_"))
    assert header.split() == [
        "NAME", "JOB", "SCHEDULE", "ZONE", "SUSPENDED", "SYNCED", "READY", "FRESH", "LAST_STATE",
        "LAST_RUN", "NEXT_RUN", "AGE",
    ]  # fmt: skip
    values = line.replace("0 * * * *", "0_*_*_*_*").split()
    assert values[:5] == ["example", "sync", "0_*_*_*_*", "Asia/Shanghai", "false"]
    assert values[5:8] == ["True", "True", "SUCCESS"]
    assert values[9] == "2030-01-01T00:00:00Z"


@pytest.mark.parametrize("name", ["psch", "pjc", "pikoschedules", "pikojobconfigs", "piko"])
def test_short_names_and_the_category_are_known(crds: ControlPlane, namespace: str, name: str) -> None:
    assert crds.kubectl("get", name, "-n", namespace).returncode == 0


def test_status_is_written_through_its_subresource_only(crds: ControlPlane, namespace: str) -> None:
    text = manifest("PikoSchedule", {"jobId": "a", "schedule": {"cron": "@daily"}})
    crds.kubectl("apply", "-n", namespace, "-f", "-", input=text)
    patch = json.dumps({"status": {"schedule": "lies"}})
    crds.kubectl("patch", "psch", "example", "-n", namespace, "--type=merge", "-p", patch)
    shown = json.loads(crds.kubectl("get", "psch", "example", "-n", namespace, "-o", "json").stdout)
    assert shown["status"] == {"observedGeneration": -1}


@pytest.mark.parametrize("kind", ["PikoSchedule", "PikoJobConfig"])
def test_a_resource_that_nobody_has_looked_at_says_so(crds: ControlPlane, namespace: str, kind: str) -> None:
    spec = {"jobId": "a"} | ({"schedule": {"cron": "@daily"}} if kind == "PikoSchedule" else {})
    crds.kubectl("apply", "-n", namespace, "-f", "-", input=manifest(kind, spec))
    shown = json.loads(crds.kubectl("get", kind, "example", "-n", namespace, "-o", "json").stdout)
    assert shown["status"]["observedGeneration"] == -1
