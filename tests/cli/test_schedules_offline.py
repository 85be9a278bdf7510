"""`piko next` and `piko validate` need no database, no settings and no replica."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.piko import CANNOT, NEEDS_ACTION, OK, piko_here
from tests.poisons import POISONS, Poison

BERLIN = ("--timezone", "Europe/Berlin")

SCHEDULE = """
apiVersion: piko.dev/v1
kind: PikoSchedule
metadata: {name: nightly}
spec:
  jobId: nightly
  timeZone: Europe/Berlin
  schedule: {cron: "30 2 * * *"}
"""
CONFIG = """
apiVersion: piko.dev/v1
kind: PikoJobConfig
metadata: {name: nightly}
spec:
  jobId: nightly
  config: {concurrency: 3}
"""
APP = """
from pydantic import BaseModel
from piko import PikoApp

app = PikoApp(name="trial")

class Nightly(BaseModel):
    concurrency: int = 1

@app.job(job_id="nightly", schema=Nightly)
async def nightly(ctx, scheduled_time):
    pass
"""


def test_next_says_what_it_means_when_it_fires_and_what_the_clocks_do(tmp_path: Path) -> None:
    answer = piko_here("next", "30 2 * * *", *BERLIN, "--after", "2026-03-28", "-n", "2", cwd=tmp_path)
    assert (answer.code, answer.err) == (OK, "")
    assert answer.out.splitlines()[:4] == [
        "At 02:30, Europe/Berlin.",
        "  Sat 2026-03-28 02:30:00+01:00  2026-03-28 01:30:00Z",
        "  Sun 2026-03-29 03:00:00+02:00  2026-03-29 01:00:00Z",
        "! On 2026-03-29 clocks in Europe/Berlin go forward from 02:00 to 03:00: "
        "what is due between comes at 03:00.",
    ]


@pytest.mark.parametrize(
    ("expression", "kind", "first"),
    [
        ('{"minute": 0}', "cron", "2026-01-08T11:00:00Z"),
        ('"0 12 * * *"', "cron", "2026-01-08T12:00:00Z"),
        ("@hourly", "cron", "2026-01-08T11:00:00Z"),
        ('{"every": "10s"}', "interval", "2026-01-08T10:30:10Z"),
        ('{"run_date": "2026-01-09 10:00"}', "date", "2026-01-09T10:00:00Z"),
    ],
)
def test_next_takes_every_form_of_expression(tmp_path: Path, expression: str, kind: str, first: str) -> None:
    arguments = ("next", expression, "--after", "2026-01-08T10:30:00", "-n", "1", "-o", "json")
    (found,) = json.loads(piko_here(*arguments, cwd=tmp_path).out)
    assert (found["schedule_type"], found["instants"][0]["instant"]) == (kind, first)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["*/5 * * *"], "has 4 fields"),
        (["0 0 30 2 *"], "30"),
        (['{"hour": 25}'], "out of range"),
        (['{"minuet": 5}'], "did you mean `minute`?"),
        (['{"evry": "5m", "seconds": 1}'], "did you mean `every`?"),
        (['{"hour": '], "is not JSON"),
        (["* * * * *", "--timezone", "Europe/Berln"], "did you mean Europe/Berlin"),
        (["* * * * *", "--after", "tomorrow"], "expected an instant such as"),
        ([], "expected either an expression or a job, or a file"),
        (["-f", "missing.yaml"], "missing.yaml: cannot be read"),
    ],
)
def test_next_explains_what_it_cannot_read(tmp_path: Path, arguments: list[str], said: str) -> None:
    answer = piko_here("next", *arguments, cwd=tmp_path)
    assert (answer.code, answer.out) == (CANNOT, "")
    assert said in answer.err


def test_next_reads_resource_files_and_standard_input(tmp_path: Path) -> None:
    (tmp_path / "jobs.yaml").write_text(f"{SCHEDULE}---\n{CONFIG}")
    answer = piko_here("next", "-f", "jobs.yaml", "-n", "1", cwd=tmp_path)
    assert answer.out.startswith("nightly:\nAt 02:30, Europe/Berlin.\n")
    assert piko_here("next", "-f", "-", "-n", "1", cwd=tmp_path, stdin=SCHEDULE).out == answer.out
    assert "no PikoSchedule" in piko_here("next", "-f", "-", cwd=tmp_path, stdin=CONFIG).err


def test_validate_accepts_what_can_be_used_and_counts(tmp_path: Path) -> None:
    (tmp_path / "jobs.yaml").write_text(f"{SCHEDULE}---\n{CONFIG}")
    (tmp_path / "values.yaml").write_text("image: {tag: 1}\n")
    answer = piko_here("validate", "-f", ".", cwd=tmp_path)
    assert (answer.code, answer.err) == (OK, "")
    assert "PikoSchedule nightly (jobs.yaml, line 2): At 02:30, Europe/Berlin." in answer.out
    assert answer.out.endswith("2 valid, 0 invalid\n"), "what is not ours in a folder is passed over"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SCHEDULE.replace("30 2 * * *", "30 25 * * *"), "spec.schedule"),
        (SCHEDULE.replace("30 2 * * *", "0 0 30 2 *"), "spec.schedule"),
        (SCHEDULE.replace("Europe/Berlin", "Europe/Berln"), "did you mean Europe/Berlin"),
        (SCHEDULE.replace("jobId", "jobID"), "spec.jobID: unknown field"),
        (f"{SCHEDULE}---{SCHEDULE.replace('name: nightly', 'name: other')}", "a job has one PikoSchedule"),
        ("a: [", "not YAML"),
    ],
)
def test_validate_refuses_what_the_operator_or_the_runtime_would(
    tmp_path: Path, text: str, said: str
) -> None:
    answer = piko_here("validate", "-f", "-", "-o", "json", cwd=tmp_path, stdin=text)
    assert answer.code == NEEDS_ACTION
    assert any(said in item["message"] for item in json.loads(answer.out) if not item["valid"])


def test_validate_asks_the_models_of_an_app(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    good = piko_here("validate", "-f", "-", "--app", "app:app", cwd=tmp_path, stdin=CONFIG)
    assert (good.code, "valid" in good.out) == (OK, True)
    wrong = CONFIG.replace("concurrency: 3", "concurrency: many")
    bad = piko_here("validate", "-f", "-", "--app", "app:app", cwd=tmp_path, stdin=wrong)
    assert (bad.code, 'concurrency = "many": Input should be a valid integer' in bad.out) == (
        NEEDS_ACTION,
        True,
    )
    misspelt = CONFIG.replace("concurrency: 3", "concurency: 3")
    warned = piko_here("validate", "-f", "-", "--app", "app:app", cwd=tmp_path, stdin=misspelt)
    assert warned.code == OK
    assert "valid, with a warning: spec.config: concurency: the model has no such key" in warned.out
    assert "did you mean `concurrency`?" in warned.out
    other = piko_here(
        "validate",
        "-f",
        "-",
        "--app",
        "app",
        cwd=tmp_path,
        stdin=CONFIG.replace("jobId: nightly", "jobId: x"),
    )
    assert "the app has no job 'x'; its jobs: nightly" in other.out


def test_validate_checks_every_document_and_says_where_each_problem_is(tmp_path: Path) -> None:
    bad = SCHEDULE.replace("30 2 * * *", "30 25 * * *").replace("nightly", "daily")
    (tmp_path / "jobs.yaml").write_text(
        f"{bad}---\na: [\n---{CONFIG}---\nkind: PikoSchedule\n---\n{{? [a]: 1}}\n"
    )
    answer = piko_here("validate", "-f", "jobs.yaml", "-o", "json", cwd=tmp_path)
    assert answer.code == NEEDS_ACTION
    found = [(item["line"], item["valid"], item["kind"]) for item in json.loads(answer.out)]
    assert found == [
        (8, False, "PikoSchedule"),
        (10, False, None),
        (12, True, "PikoJobConfig"),
        (19, False, None),
        (21, False, None),
    ]
    assert (
        "INVALID PikoSchedule daily (jobs.yaml, line 8): spec.schedule: "
        in piko_here("validate", "-f", "jobs.yaml", cwd=tmp_path).out
    )


def test_validate_says_which_job_of_a_schedule_is_not_registered(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    text = SCHEDULE.replace("jobId: nightly", "jobId: nigtly")
    answer = piko_here("validate", "-f", "-", "--app", "app", cwd=tmp_path, stdin=text)
    assert answer.code == NEEDS_ACTION
    assert "line 6): spec.jobId: the app has no job 'nigtly'; did you mean `nightly`?" in answer.out


@pytest.mark.parametrize("poison", POISONS, ids=str)
def test_validate_has_an_answer_to_every_poison(tmp_path: Path, poison: Poison) -> None:
    text = f"{CONFIG.replace('{concurrency: 3}', poison.text)}---{SCHEDULE}"
    answer = piko_here("validate", "-f", "-", cwd=tmp_path, stdin=text)
    assert answer.code in (OK, NEEDS_ACTION)
    assert "ok      PikoSchedule nightly" in answer.out
    assert "fault" not in answer.out


def test_a_folder_is_validated_whatever_else_lies_in_it(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(SCHEDULE)
    (tmp_path / "bytes.yaml").write_bytes(b"piko.dev \xff")
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "other.yaml").write_text("a: [")
    answer = piko_here("validate", "-f", ".", cwd=tmp_path)
    assert answer.out.endswith("1 valid, 2 invalid\n")
    assert "INVALID bytes.yaml, line 1: not UTF-8 text" in answer.out
    assert "INVALID loop.yaml: cannot be read: Too many levels of symbolic links" in answer.out
