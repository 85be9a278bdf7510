"""The tutorial, as a reader follows it: its files in a folder, its commands in two terminals."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.dev.folders import rows
from tests.docs.pages import read
from tests.harness.programs import PikoProcessFactory
from tests.harness.waiting import wait_until


def _blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", read(page), flags=re.DOTALL)


def _commands(page: str, program: str) -> list[list[str]]:
    """The arguments of each `$ program …` of a page."""
    shown = "\n".join(_blocks(page, "console")).replace("\\\n", " ")
    return [shlex.split(line)[1:] for line in re.findall(rf"^\$ ({program} .*)$", shown, flags=re.MULTILINE)]


def test_the_first_job_takes_its_schedule_its_change_and_its_config(
    piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    page = "tutorial/first-job.md"
    (code,), (schedule, config) = _blocks(page, "python"), _blocks(page, "yaml")
    (tmp_path / "app.py").write_text(code)
    (tmp_path / "schedules.yaml").write_text(schedule)
    program = piko_process("-m", "piko", "dev", tmp_path)
    program.wait_for_line("greet +Scheduled  interval every 5s")
    program.wait_for_line("hello world, it is ")

    (tmp_path / "schedules.yaml").write_text(schedule.replace("every: 5s", "every: often"))
    program.wait_for_line("schedules.yaml, line 9 .*'often': .*expected a duration")
    (tmp_path / "schedules.yaml").write_text(schedule + config)
    program.wait_for_line("hello Ada, it is ")

    for arguments in _commands(page, "piko"):
        if arguments[0] != "dev":
            answer = piko_process("-m", "piko", *arguments, cwd=tmp_path, name="cli")
            assert answer.wait() == 0
            assert "greet" in answer.output
    assert program.terminate() == 0


def test_windows_are_caught_up_replayed_and_run_again(
    piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    page = "tutorial/windows-of-data.md"
    (code,), (schedule,) = _blocks(page, "python"), _blocks(page, "yaml")
    (tmp_path / "app.py").write_text(code)
    (tmp_path / "schedules.yaml").write_text(schedule)
    first = piko_process("-m", "piko", "dev", tmp_path)
    first.wait_for_line("schedule: data from ")
    assert first.terminate() == 0

    wait_until(lambda: _windows_behind(tmp_path) > 2, what="windows to be missed")
    again = piko_process("-m", "piko", "dev", tmp_path)
    again.wait_for_line("catch_up: data from ")
    again.wait_for_line("schedule: data from ")

    (*_, statement), *_ = _commands(page, "sqlite3")
    before = again.output.count("catch_up: data from ")
    rows(tmp_path, statement)
    wait_until(
        lambda: again.output.count("catch_up: data from ") >= before + 11,
        what="the windows of a minute to run again",
    )

    for arguments in _commands(page, "piko"):
        if arguments[0] != "dev":
            answer = piko_process("-m", "piko", *arguments, cwd=tmp_path, name="cli")
            assert answer.wait() == 0, answer.output
    again.wait_for_line("backfill: data from 01 Jan 10:00:00 to 10:00:05")
    assert again.terminate() == 0


def _windows_behind(folder: Path) -> int:
    statement = "SELECT (julianday('now') - julianday(last_data_time)) * 86400 / 5 FROM scheduled_job"
    return int(rows(folder, statement)[0][0])
