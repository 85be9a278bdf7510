"""Runs shown, cancelled and run again, the watermark, the report of a period, and completion in a shell."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.piko import CANNOT, OK, piko_here
from tests.harness.databases import TestDatabase


def _run(run_id: str, state: str, attempt: int, ended: int, seconds: float, error: str) -> str:
    """A run of the window from 9 to 10, which ended at that second."""
    times = ", ".join(f"'2026-01-08 {hour}.000000'" for hour in ("10:00:00", "09:00:00", "10:00:00"))
    return (
        "INSERT INTO job_run (scheduled_time, window_start, window_end, run_id, job_id, state, attempt, "
        f"started_at, finished_at, duration_s, error) VALUES ({times}, '{run_id}', 'orders', '{state}', "
        f"{attempt}, '2026-01-08 10:00:00.500000', '2026-01-08 10:00:{ended:02}.000000', {seconds}, "
        f"'{error}')"
    )


ROWS = [
    "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr, last_data_time) VALUES "
    "('orders', 'cron', '\"0 * * * *\"', '2026-01-08 10:00:00.000000')",
    "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr) VALUES "
    "('idle', 'cron', '\"0 * * * *\"')",
    "INSERT INTO job_definition (job_id, app, handler, stateful, content_hash, instance_id) "
    "VALUES ('orders', 'demo', 'app:orders', 1, 'h', 'one')",
    _run("r1", "FAILED", 1, 3, 2.0, "KeyError: 7"),
    _run("r2", "SUCCESS", 2, 8, 4.0, "records refused: 2 by sink w; piko spool list --run r2"),
    "INSERT INTO job_run (run_id, job_id, scheduled_time, state) VALUES "
    "('r3', 'orders', '2026-01-08 11:00:00.000000', 'QUEUED')",
    "INSERT INTO job_run (run_id, job_id, scheduled_time, state, missed_through, missed_count) VALUES "
    "('r4', 'orders', '2026-01-07 01:00:00.000000', 'MISSED', '2026-01-07 03:00:00.000000', 3)",
    "INSERT INTO run_log (run_id, job_id, head, line_count, left_out, progress_done, progress_total, result) "
    "VALUES ('r2', 'orders', 'one', 1, 0, 3, 10, '{\"rows\": 3}')",
]


@pytest.fixture
async def night(emptied_database: TestDatabase) -> TestDatabase:
    for statement in ROWS:
        await emptied_database.execute(statement)
    return emptied_database


async def piko(database: TestDatabase, folder: Path, *arguments: str) -> Any:
    return await asyncio.to_thread(piko_here, *arguments, cwd=folder, dsn=database.dsn)


async def test_a_run_is_shown_with_its_attempts_and_what_its_sinks_refused(
    night: TestDatabase, tmp_path: Path
) -> None:
    shown = (await piko(night, tmp_path, "runs", "show", "r2")).out
    for line in (
        "job        orders",
        "state      SUCCESS",
        "window     2026-01-08 09:00:00Z - 2026-01-08 10:00:00Z",
        "took       4.0s",
        "progress   3 of 10",
        'result     {"rows": 3}',
        "also       attempt 1, FAILED, run r1: KeyError: 7",
        "records refused: 2 by sink w; piko spool list --run r2",
        "1 line of log: piko logs r2",
    ):
        assert line in shown
    document = json.loads((await piko(night, tmp_path, "runs", "show", "r1", "-o", "json")).out)
    assert (document["run"]["error"], len(document["attempts"]), document["log"]) == ("KeyError: 7", 2, None)
    unknown = await piko(night, tmp_path, "runs", "show", "nothing")
    assert (unknown.code, "no run 'nothing'" in unknown.err) == (CANNOT, True)


async def test_runs_are_listed_without_a_word_and_by_options(night: TestDatabase, tmp_path: Path) -> None:
    both = [
        (await piko(night, tmp_path, "runs", *words, "-o", "json")).out for words in ([], ["--job", "orders"])
    ]
    assert both[0] == both[1] == (await piko(night, tmp_path, "runs", "list", "-o", "json")).out
    assert [run["run_id"] for run in json.loads(both[0])] == ["r3", "r2", "r1", "r4"]


async def test_a_run_is_cancelled_and_another_one_run_again(night: TestDatabase, tmp_path: Path) -> None:
    assert "would be cancelled" in (await piko(night, tmp_path, "runs", "cancel", "r3", "--dry-run")).out
    assert await night.execute("SELECT state FROM job_run WHERE run_id = 'r3'") == [("QUEUED",)]
    done = await piko(night, tmp_path, "runs", "cancel", "r3", "--reason", "the source is away")
    assert (done.code, "cancelled as run r3" in done.out) == (OK, True)
    rows = await night.execute("SELECT state, error FROM job_run WHERE run_id = 'r3'")
    assert rows[0][0] == "CANCELLED"
    assert "the source is away" in rows[0][1]
    again = await piko(night, tmp_path, "runs", "cancel", "r3")
    assert (again.code, "there is nothing to cancel" in again.err) == (CANNOT, True)
    answer = json.loads((await piko(night, tmp_path, "runs", "retry", "r1", "-o", "json")).out)
    assert (answer["attempt"], answer["state"]) == (3, "QUEUED")
    queued = await night.execute(
        f"SELECT window_start IS NOT NULL, attempt FROM job_run WHERE run_id = '{answer['run_id']}'"
    )
    assert tuple(queued[0]) == (1, 3)
    refused = await piko(night, tmp_path, "runs", "retry", "r2")
    assert (refused.code, "is SUCCESS" in refused.err) == (CANNOT, True)
    logged = await night.execute("SELECT what, via FROM change_log WHERE via <> 'sql' ORDER BY at, what")
    assert sorted(tuple(row) for row in logged) == [("cancel", "cli"), ("retry", "cli")]


async def test_the_watermark_is_shown_and_moved_with_what_will_replay(
    night: TestDatabase, tmp_path: Path
) -> None:
    shown = (await piko(night, tmp_path, "watermark", "orders")).out
    assert shown.startswith("orders: 2026-01-08 10:00:00Z; ")
    dry = (await piko(night, tmp_path, "watermark", "orders", "2026-01-08T07:00", "--dry-run")).out
    assert "would move from 2026-01-08 10:00:00Z to 2026-01-08 07:00:00Z" in dry
    assert "from 2026-01-08 07:00:00Z" in dry
    assert (await piko(night, tmp_path, "watermark", "orders")).out == shown
    moved = await piko(night, tmp_path, "watermark", "orders", "2026-01-08T07:00", "--reason", "bad data")
    assert (moved.code, "orders: moved from" in moved.out) == (OK, True)
    assert "orders: 2026-01-08 07:00:00Z;" in (await piko(night, tmp_path, "watermark", "orders")).out
    await piko(night, tmp_path, "watermark", "orders", "--clear")
    assert "the last full window runs next" in (await piko(night, tmp_path, "watermark", "orders")).out
    ahead = await piko(night, tmp_path, "watermark", "orders", "2999-01-01")
    assert (ahead.code, "cannot lie in the future" in ahead.err) == (CANNOT, True)


async def test_a_report_counts_a_period_by_job(night: TestDatabase, tmp_path: Path) -> None:
    answer = await piko(night, tmp_path, "report", "--since", "2026-01-07", "--until", "2026-01-09")
    assert "JOB     RUNS  SUCCEEDED  FAILED" in answer.out
    words = ("report", "--since", "2026-01-07", "--until", "2026-01-09", "-o", "json")
    (line,) = json.loads((await piko(night, tmp_path, *words)).out)["jobs"]
    assert line == {
        "job_id": "orders",
        "runs": 3,
        "succeeded": 1,
        "failed": 1,
        "cancelled": 0,
        "left_out": 3,
        "under_way": 1,
        "mean_s": 3.0,
        "longest_s": 4.0,
    }
    assert "nothing was due" in (await piko(night, tmp_path, "report", "--since", "1h")).out
    wrong = await piko(night, tmp_path, "report", "--until", "30h")
    assert (wrong.code, "is not after --since" in wrong.err) == (CANNOT, True)


@pytest.mark.usefixtures("programs")
def test_bash_that_has_sourced_the_completion_knows_commands_and_options(tmp_path: Path) -> None:
    script = piko_here("completion", "bash", cwd=tmp_path).out
    (tmp_path / "piko.bash").write_text(script)
    program = """
source piko.bash
complete -p piko
complete_words() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _piko_completion piko; echo "${COMPREPLY[*]}"; }
complete_words piko wat
complete_words piko runs ca
complete_words piko watermark --cl
"""
    done = subprocess.run(
        ["bash", "-c", program],
        cwd=tmp_path,
        env={"PATH": f"{_programs()}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    registered, *completed = done.stdout.splitlines()
    assert "_piko_completion piko" in registered, done.stderr
    assert completed == ["watermark", "cancel", "--clear"], done.stderr
    for shell in ("zsh", "fish"):
        assert "_PIKO_COMPLETE" in piko_here("completion", shell, cwd=tmp_path).out


def _programs() -> str:
    """Where the installed `piko` lies."""
    import sys

    return str(Path(sys.executable).parent)


async def test_a_backfill_is_steered_and_a_dry_run_of_it_changes_nothing(
    night: TestDatabase, tmp_path: Path
) -> None:
    window = ("--from", "2026-01-08T00:00", "--to", "2026-01-08T01:00", "-o", "json")
    request = json.loads((await piko(night, tmp_path, "backfill", "orders", *window)).out)["backfill_id"]
    for verb, becomes in (("pause", "PAUSED"), ("resume", "ACTIVE"), ("cancel", "CANCELLED")):
        (before,) = await night.execute("SELECT state FROM backfill")
        trial = await piko(night, tmp_path, "backfill", verb, request, "--dry-run")
        assert (trial.code, trial.out) == (
            OK,
            f"orders: backfill {request} would be {becomes} (--dry-run)\n",
        )
        assert await night.execute("SELECT state FROM backfill") == [before]
        done = await piko(night, tmp_path, "backfill", verb, request)
        assert done.out == f"orders: backfill {request} is {becomes}\n"
    refused = await piko(night, tmp_path, "backfill", "resume", request, "--dry-run")
    assert (refused.code, "is CANCELLED; only a backfill that is PAUSED" in refused.err) == (CANNOT, True)
