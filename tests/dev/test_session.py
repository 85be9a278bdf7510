"""`piko dev` as a person uses it: started, edited under, interrupted, started again."""

from __future__ import annotations

import re
import signal
import urllib.request
from pathlib import Path

import pytest

from piko.dev.place import hold_place
from piko.errors import SettingsError
from tests.dev.folders import config, make_folder, rows, schedule
from tests.harness.processes import ChildProcess
from tests.harness.programs import PikoProcessFactory
from tests.harness.terminals import CTRL_C
from tests.harness.waiting import PATIENCE_S, wait_until

_SUCCESSES = "SELECT count(*) FROM job_run WHERE job_id = ? AND state = 'SUCCESS'"


def _dev(start: PikoProcessFactory, folder: Path) -> ChildProcess:
    return start("-m", "piko", "dev", folder, name="dev")


def _successes(folder: Path, job_id: str) -> int:
    return int(rows(folder, _SUCCESSES, job_id)[0][0])


def test_on_a_terminal_it_shows_lines_over_a_table_until_ctrl_c(
    piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    folder = make_folder(tmp_path / "jobs", tick=schedule("tick", "500ms"))
    program, terminal = piko_process.on_a_terminal("-m", "piko", "dev", folder, name="dev")
    program.wait_for_line("JOB +NOW +LAST +NEXT")
    program.wait_for_line("tick.*SUCCESS   for .* ms  next ")
    program.wait_for_line("ticked {}")
    terminal.press(CTRL_C)
    assert program.wait() == 0
    assert "Traceback" not in program.output
    assert _successes(folder, "tick") > 0


def test_it_runs_ends_with_0_at_ctrl_c_and_goes_on_where_it_stopped(
    piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    folder = make_folder(tmp_path / "jobs", tick=schedule("tick", "500ms"))
    first = _dev(piko_process, folder)
    first.wait_for_line(r"tick +Scheduled  interval every 500ms, next \d\d:\d\d:\d\d")
    first.wait_for_line(r"tick +SUCCESS   for .* ms  next ")
    first.wait_for_line("ticked {}")
    page = re.search(r"page: (http://127\.0\.0\.1:\d+/)", first.output)
    assert page is not None
    with urllib.request.urlopen(f"{page[1]}jobs/tick", timeout=PATIENCE_S) as answer:
        assert "<title>tick" in answer.read().decode()
    with (
        pytest.raises(SettingsError, match=f"already runs on this folder, as process {first.pid}"),
        hold_place(folder),
    ):
        pass

    first.signal(signal.SIGINT)
    assert first.wait() == 0
    assert f"data is kept in {folder}/.piko/piko.db" in first.output.splitlines()[-1]
    done = _successes(folder, "tick")
    assert done > 0

    again = _dev(piko_process, folder)
    again.wait_for_line("continues where it stopped")
    again.wait_for_line("tick +SUCCESS")
    assert again.terminate() == 0
    assert _successes(folder, "tick") > done
    assert "Traceback" not in first.output + again.output


def test_edits_of_the_files_are_taken_and_broken_ones_are_explained(
    piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    folder = make_folder(
        tmp_path / "jobs", tick=schedule("tick", "1h"), load=schedule("load", "1h"), other="image: {tag: 1}"
    )
    program = _dev(piko_process, folder)
    program.wait_for_line("tick +Scheduled  interval every 1h")

    (folder / "tick.yaml").write_text(schedule("tick", "200ms") + "---\n" + config("tick", "{colour: green}"))
    program.wait_for_line("folder +changed: PikoSchedule tick in tick.yaml")
    program.wait_for_line("ticked {'colour': 'green'}")

    (folder / "tick.yaml").write_text(schedule("tick", "often"))
    said = program.wait_for_line("expected a duration")
    assert f"{folder}/tick.yaml, line 6 (PikoSchedule tick): spec.schedule.interval.every: 'often': " in said
    program.wait_for_line("the last good version stays in force")
    done = _successes(folder, "tick")
    wait_until(lambda: _successes(folder, "tick") > done, what="the last good schedule to go on")

    (folder / "load.yaml").unlink()
    program.wait_for_line("folder +deleted: PikoSchedule of job 'load', its row: delete")
    left = "SELECT job_id FROM scheduled_job"
    wait_until(lambda: rows(folder, left) == [("tick",)], what="the row of what was deleted to go")

    (folder / "tick.yaml").write_text(schedule("tick", "2h", more="suspend: true"))
    program.wait_for_line("all resource files are valid again")
    program.wait_for_line("tick +Disabled  interval every 2h")
    assert program.terminate() == 0
    assert "other.yaml" not in program.output


def test_saved_code_runs_and_code_that_cannot_be_loaded_leaves_the_last_good_one(
    piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    folder = make_folder(tmp_path / "jobs", tick=schedule("tick", "200ms"))
    good = (folder / "app.py").read_text()
    program = _dev(piko_process, folder)
    program.wait_for_line("ticked ")

    (folder / "app.py").write_text(good.replace("ticked", "ticking"))
    program.wait_for_line("code +app.py changed: waiting for runs in progress")
    program.wait_for_line("ticking ")

    (folder / "app.py").write_text(good + "\nasync def broken(:\n")
    program.wait_for_line(r"code +.*app\.py, line \d+: .*not valid Python")
    program.wait_for_line("code +the last good version stays in force")
    done = _successes(folder, "tick")
    wait_until(lambda: _successes(folder, "tick") > done, what="the last good code to go on")

    (folder / "helper.py").write_text("WORD = 'helped'\n")
    (folder / "app.py").write_text("from helper import WORD\n" + good.replace('"ticked"', "WORD"))
    program.wait_for_line("helped ")
    (folder / "helper.py").write_text("WORD = 'served'\n")
    program.wait_for_line("code +helper.py changed")
    program.wait_for_line("served ")
    assert program.terminate() == 0
    states = {state for (state,) in rows(folder, "SELECT state FROM job_run WHERE job_id = 'tick'")}
    assert not states & {"FAILED", "TIMEOUT", "LOST"}, "runs in progress end before their code is replaced"


def test_a_module_in_a_folder_below_that_could_not_be_loaded_is_loaded_once_it_is_mended(
    piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    folder = make_folder(tmp_path / "jobs", tick=schedule("tick", "200ms"))
    words = folder / "shop" / "words.py"
    words.parent.mkdir()
    words.write_text("WORD = (\n")
    good = (folder / "app.py").read_text()
    program = _dev(piko_process, folder)
    program.wait_for_line("ticked ")
    (folder / "app.py").write_text("from shop.words import WORD\n" + good.replace('"ticked"', "WORD"))
    program.wait_for_line(r"code +.*shop/words\.py, line 1: .*not valid Python")
    words.write_text("WORD = 'mended'\n")
    program.wait_for_line("code +shop/words.py changed")
    program.wait_for_line("mended ")
    assert program.terminate() == 0


def test_code_that_is_saved_while_it_is_loaded_is_loaded_again(
    piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    folder = make_folder(tmp_path / "jobs", tick=schedule("tick", "200ms"))
    app = folder / "app.py"
    good = app.read_text()
    saves = "from pathlib import Path\nnext_code = Path(__file__).with_name({!r})\n"
    saves += "Path(__file__).write_text(next_code.read_text())\n"
    (folder / "first").write_text(good.replace("ticked", "saved at the start"))
    (folder / "second").write_text(good.replace("ticked", "saved later"))
    app.write_text(good + saves.format("first"))
    program = _dev(piko_process, folder)
    program.wait_for_line("saved at the start ")
    app.write_text(good + saves.format("second"))
    program.wait_for_line("saved later ")
    assert program.terminate() == 0


def test_a_run_that_was_killed_is_lost_and_its_window_runs_after_the_next_start(
    piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    slow = config("load", "{takes: 60}")
    folder = make_folder(
        tmp_path / "jobs",
        load=schedule("load", "1s", more="retry: {maxAttempts: 2, backoff: 0s}"),
        config=slow,
    )
    program = _dev(piko_process, folder)
    program.wait_for_line("load +running, for ")
    program.kill()
    (window,) = rows(folder, "SELECT window_start FROM job_run WHERE state = 'RUNNING'")

    (folder / "config.yaml").write_text(config("load", "{takes: 0}"))
    again = _dev(piko_process, folder)
    again.wait_for_line("load +LOST ")
    again.wait_for_line("load +SUCCESS")
    assert again.terminate() == 0
    states = rows(
        folder, "SELECT attempt, state FROM job_run WHERE window_start = ? ORDER BY attempt", *window
    )
    assert states == [(1, "LOST"), (2, "SUCCESS")]


def test_a_watermark_set_back_while_a_window_is_being_run_replays_the_windows(
    piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    folder = make_folder(
        tmp_path / "jobs", load=schedule("load", "1s"), config=config("load", "{takes: 0.9}")
    )
    program = _dev(piko_process, folder)
    # In one statement: the watermark goes on, window by window, between two.
    set_it_back = (
        "UPDATE scheduled_job SET last_data_time = strftime('%Y-%m-%d %H:%M:%f000', begun, '-6 seconds') "
        "FROM (SELECT window_start AS begun FROM job_run WHERE job_id = 'load' AND state = 'RUNNING') "
        "WHERE job_id = 'load' RETURNING last_data_time"
    )
    (set_back,) = wait_until(
        lambda: _read(folder, set_it_back) if (folder / ".piko" / "piko.db").exists() else None,
        what="a window being run, and the watermark to be set back from there",
    )
    wait_until(
        lambda: _read(folder, "SELECT run_id FROM job_run WHERE window_start = ?", *set_back),
        what="the window after the watermark that was set to be run",
    )
    assert program.terminate() == 0


def _read(folder: Path, statement: str, *values: str) -> list[tuple[str, ...]]:
    """`rows`, of tables that may not be there yet."""
    there = rows(folder, "SELECT 1 FROM sqlite_master WHERE name = 'job_run'")
    return rows(folder, statement, *values) if there else []


def test_windows_meet_although_files_go_and_ids_are_mistyped(
    piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    text = schedule("load", "1s")
    folder = make_folder(tmp_path / "jobs", load=text, tick=schedule("tick", "1h"))
    file, done = folder / "load.yaml", 0
    program = _dev(piko_process, folder)

    def loaded(more: int) -> None:
        nonlocal done
        wait_until(lambda: _successes(folder, "load") >= done + more, what=f"{more} more windows to load")
        done = _successes(folder, "load")

    program.wait_for_line("load +SUCCESS")
    loaded(1)
    file.unlink()  # as `git stash` does
    program.wait_for_line("load +no longer has a schedule")
    file.write_text(text)
    program.wait_for_line("new: PikoSchedule load in load.yaml; it continues from where the job stopped, 20")
    loaded(2)
    file.write_text(text.replace("jobId: load", "jobId: laod"))
    program.wait_for_line("folder +deleted: PikoSchedule of job 'load', its row: delete")
    program.wait_for_line("laod +Unregistered")
    file.write_text(text)
    program.wait_for_line("folder +deleted: PikoSchedule of job 'laod', its row: delete")
    loaded(2)
    file.write_text("")
    program.wait_for_line("load.yaml: it held the PikoSchedule of job 'load' and now holds no resource")
    loaded(2)
    assert program.terminate() == 0
    windows = rows(
        folder,
        "SELECT window_start, window_end FROM job_run WHERE job_id = 'load' AND state = 'SUCCESS' "
        "ORDER BY window_start",
    )
    assert [end for _, end in windows[:-1]] == [start for start, _ in windows[1:]]


NEEDY = """
from pydantic import BaseModel, Field
from piko import PikoApp

app = PikoApp(name="needy")

class Target(BaseModel):
    table: str
    batch: int = Field(1, le=100)

@app.job("load", schema=Target)
async def load(ctx, scheduled_time):
    print("loads", ctx["config"].table, flush=True)
"""


def test_a_job_that_waits_for_its_config_says_so_and_why_and_so_does_a_config_that_does_not_fit(
    piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    folder = make_folder(tmp_path / "jobs", load=schedule("load", "1s"))
    (folder / "app.py").write_text(NEEDY)
    program = _dev(piko_process, folder)
    program.wait_for_line(
        r"load +WaitingForConfig  interval every 1s: .*waits for a config.*table: Field required"
    )
    file = folder / "config.yaml"
    file.write_text(config("load", "{table: t, batch: 500}"))
    program.wait_for_line(
        r"load +WaitingForConfig .*the newest row was refused: .*batch = 500: Input should be"
    )
    file.write_text(config("load", "{table: t}"))
    program.wait_for_line("load +SUCCESS")
    file.write_text(config("load", '{table: u, batch: "many"}'))
    program.wait_for_line(
        r'load +Scheduled .*was refused, revision \d stays in force: .*batch = "many": Input should be'
    )
    file.write_text(config("laod", "{table: t}"))
    program.wait_for_line("laod .*no replica has registered the job 'laod'; did you mean `load`")
    assert program.terminate() == 0
