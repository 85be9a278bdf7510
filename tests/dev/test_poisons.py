"""Whatever is saved in the folder of `piko dev`: it is reported, with its line, and the session goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from piko.dev.files import Reading, ResourceFiles
from piko_operator.manifests import LARGEST_FILE
from tests.dev.folders import make_folder, rows, schedule
from tests.harness.programs import PikoProcessFactory
from tests.harness.waiting import wait_until
from tests.poisons import POISONS, Poison

_HEAD = "apiVersion: piko.dev/v1\nkind: PikoJobConfig\nmetadata: {name: load}\nspec:\n  jobId: load\n"
_BOMB = "".join(f"  a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
_SAVED = {
    "a key that is a list": ("{? [a]: 1, piko.dev: 2}", "line 1: a list or an object is used as a key"),
    "a template": (
        f"{_HEAD}  config: {{name: {{{{ .Values.x }}}}}}\n",
        "line 6: a list or an object is used",
    ),
    "not a number": (f"{_HEAD}  config: {{a: .nan}}\n", "line 6: '.nan' is not a finite number"),
    "a surrogate": (f'{_HEAD}  config: {{a: "\\ud800"}}\n', "line 6: not YAML: found invalid Unicode"),
    "5,000 digits": (f"{_HEAD}  config:\n    a: {'9' * 5000}\n", "line 7: .* a number of 5000 characters"),
    "a deep list": (
        f"{_HEAD}  config: {{a: {'[' * 3000}{']' * 3000}}}\n",
        "line 6: .*more than 64 levels deep",
    ),
    "a bomb of aliases": (f"{_HEAD}  config:\n  a0: &a0 [x]\n{_BOMB}", "values, aliases expanded"),
    "another job's schedule": (schedule("tick", "1h", name="second"), "belongs to PikoSchedule"),
    "a cron that never fires": (
        schedule("load", "1h").replace("{interval: {every: 1h}}", '{cron: "0 0 30 2 *"}'),
        "load +Invalid",
    ),
}
_OTHER_IN_YAML = ("NaN", "NaN in a list", "infinity", "YAML", "a raw line break in a text", "301 digits")
"""What is no JSON, but good YAML: a text, an object, a float."""


def test_whatever_is_saved_is_reported_and_the_session_goes_on(
    piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    folder = make_folder(tmp_path / "jobs", tick=schedule("tick", "200ms"))
    program = piko_process("-m", "piko", "dev", folder, name="dev")
    program.wait_for_line("tick +SUCCESS")
    for text, said in _SAVED.values():
        (folder / "z.yaml").write_text(text)
        program.wait_for_line(said)
    (folder / "z.yaml").unlink()
    program.wait_for_line("all resource files are valid again")
    query = "SELECT count(*) FROM job_run WHERE job_id = 'tick' AND state = 'SUCCESS'"
    (before,) = rows(folder, query)
    wait_until(lambda: rows(folder, query)[0] > before, what="the good job to go on")
    assert program.terminate() == 0
    assert "Traceback" not in program.output
    assert "\x1b" not in program.output, "what is no terminal gets no control characters"


def _looked(folder: Path) -> Reading:
    reading = ResourceFiles(folder).first()
    assert [item.job_id for item in reading.declared] == ["tick"], "the others are taken all the same"
    return reading


@pytest.mark.parametrize("poison", POISONS, ids=str)
def test_a_poisoned_config_costs_its_own_file_alone(poison: Poison, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "jobs", a=schedule("tick", "1s"), b=f"{_HEAD}  config: {poison.text}\n")
    reading = ResourceFiles(folder).first()
    harmless = poison.name in _OTHER_IN_YAML
    assert [item.job_id for item in reading.declared] == (["tick", "load"] if harmless else ["tick"])
    assert [f"{folder}/b.yaml, line " in problem for problem in reading.problems] == [True] * (not harmless)


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


_FILES: dict[str, tuple[Callable[[Path], object], str | None]] = {
    "bytes": (lambda path: path.write_bytes(b"piko.dev \x80\x81"), "not UTF-8 text: byte 0x80"),
    "UTF-16": (lambda path: path.write_text("# PikoSchedule piko.dev\na: 1", encoding="utf-16"), None),
    "huge": (
        lambda path: path.write_bytes(b"# piko.dev\n" + b"#" * LARGEST_FILE),
        "larger than 4 MiB, so it is not read",
    ),
    "a link to itself": (_loop, "cannot be read: Too many levels of symbolic links"),
    "a link to nothing": (lambda path: path.symlink_to("nowhere"), None),
    "a folder": (lambda path: path.mkdir(), None),
    "a pipe": (os.mkfifo, None),
    "nothing": (lambda path: path.touch(), None),
}


@pytest.mark.parametrize("case", _FILES)
def test_what_is_no_text_is_a_problem_of_its_file_or_none_at_all(case: str, tmp_path: Path) -> None:
    make, said = _FILES[case]
    folder = make_folder(tmp_path / "jobs", a=schedule("tick", "1s"))
    make(folder / "b.yaml")
    problems = _looked(folder).problems
    assert len(problems) == (said is not None)
    assert not said or said in problems[0]


def test_json_is_read_too_and_that_of_other_tools_is_not(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "jobs")
    spec = {"jobId": "tick", "schedule": {"interval": {"every": "1s"}}}
    document = {"apiVersion": "piko.dev/v1", "kind": "PikoSchedule", "metadata": {"name": "t"}, "spec": spec}
    (folder / "a.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [document]}))
    (folder / "package.json").write_text("{")
    assert _looked(folder).problems == []


def test_a_folder_that_cannot_be_read_keeps_what_its_files_said(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "jobs", a=schedule("tick", "1s"))
    files = ResourceFiles(folder)
    files.first()
    folder.rename(tmp_path / "moved")
    files.look()
    reading = files.look()
    assert reading is not None
    assert [item.job_id for item in reading.declared] == ["tick"]
    assert "the folder cannot be read: No such file or directory" in reading.problems[0]
