"""`piko import` as a person runs it: resources on one side, what was left on the other."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.piko import CANNOT, NEEDS_ACTION, OK, piko_here

CRONTAB = "SHELL=/bin/sh\n*/5 * * * * /srv/sync-orders.sh\n"


def test_a_crontab_becomes_resources_that_validate_accepts(tmp_path: Path) -> None:
    (tmp_path / "crontab").write_text(CRONTAB, encoding="utf-8")
    answer = piko_here("import", "crontab", "crontab", "--timezone", "Asia/Shanghai", cwd=tmp_path)
    assert answer.code == NEEDS_ACTION, "a line was left"
    assert answer.out == (
        "# crontab, line 2: */5 * * * * /srv/sync-orders.sh\n"
        "apiVersion: piko.dev/v1\nkind: PikoSchedule\nmetadata:\n  name: sync-orders\nspec:\n"
        "  jobId: sync-orders\n  schedule:\n    cron: '*/5 * * * *'\n  timeZone: Asia/Shanghai\n"
    )
    assert answer.err == (
        "piko: crontab, line 1: left: SHELL=/bin/sh: a variable has no counterpart: set it where the runtime "
        "runs\npiko: 1 schedule, 1 left\n"
    )
    (tmp_path / "schedules.yaml").write_text(answer.out, encoding="utf-8")
    assert piko_here("validate", "-f", "schedules.yaml", cwd=tmp_path).code == OK


def test_cronjobs_that_were_all_translated_are_a_success(tmp_path: Path) -> None:
    (tmp_path / "jobs.yaml").write_text(
        "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: report}\n"
        "spec: {schedule: '0 2 * * *', timeZone: Europe/Berlin, startingDeadlineSeconds: 60}\n",
        encoding="utf-8",
    )
    answer = piko_here("import", "cronjob", "jobs.yaml", cwd=tmp_path)
    assert (answer.code, answer.err) == (OK, "piko: 1 schedule, 0 left\n")
    assert "misfireGrace: 60s" in answer.out
    as_json = json.loads(piko_here("import", "cronjob", "jobs.yaml", "-o", "json", cwd=tmp_path).out)
    (resource,) = as_json["schedules"]
    assert (resource["spec"]["misfireGrace"], as_json["left"]) == ("60s", [])


def test_a_file_without_schedules_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    answer = piko_here("import", "cronjob", "empty", cwd=tmp_path)
    assert (answer.code, answer.out, answer.err) == (NEEDS_ACTION, "", "piko: 0 schedules, 0 left\n")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"# x\n\xff\n")
    missing = piko_here("import", "crontab", "missing", cwd=tmp_path)
    assert (missing.code, "missing: cannot be read: No such file" in missing.err) == (CANNOT, True)
    no_text = piko_here("import", "crontab", "bytes", cwd=tmp_path)
    assert (no_text.code, "bytes, line 2: not UTF-8 text: byte 0xff" in no_text.err) == (CANNOT, True)
