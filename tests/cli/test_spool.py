"""`piko spool` as a person uses it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from piko.cli.spool import commands
from piko.persistence.codec import encode
from piko.spool.intents import DeadIntent, SpoolFile
from tests.cli.piko import CANNOT, piko_here
from tests.persistence.writing import intent

run = CliRunner().invoke


def filled(folder: Path) -> SpoolFile:
    file = SpoolFile(folder / "one.spool")
    file.put([("warehouse", encode(intent(key, {"n": key}, sink="warehouse"))) for key in "abc"])
    for kept in file.fetch("warehouse", after=0, limit=2):
        file.bury("warehouse", [DeadIntent("ValueError: no", kept.id)])
    return file


def letter_ids(folder: Path) -> list[str]:
    answer = json.loads(run(commands, ["list", "--dir", str(folder), "-o", "json"]).output)
    return [item["letter_id"] for item in answer["dead_letters"]]


def test_it_lists_what_waits_and_what_died_while_a_replica_uses_the_file(tmp_path: Path) -> None:
    file = filled(tmp_path)
    shown = run(commands, ["list", "--dir", str(tmp_path)]).output
    assert "1 waiting for warehouse" in shown
    assert "  warehouse" in shown
    assert "key a  ValueError: no" in shown
    answer = json.loads(run(commands, ["list", "--dir", str(tmp_path), "-o", "json"]).output)
    assert answer["waiting"] == {"warehouse": 1}
    assert {item["key"] for item in answer["dead_letters"]} == {"a", "b"}
    assert [item["intent"][0] for item in answer["dead_letters"]] == [
        item["key"] for item in answer["dead_letters"]
    ]
    in_use = run(commands, ["drop", "--all", "--dir", str(tmp_path)])
    assert "is in use by a running process; stop it first" in str(in_use.exception)
    file.close()


@pytest.mark.parametrize(
    ("option", "why"),
    [
        ("--replica one", "--replica chooses among what replicas list; leave it out with --dir"),
        ("--reason r", "--reason is kept in change_log, which files do not have; leave it out"),
        ("--dsn sqlite+aiosqlite:///x.db", "--dsn names a database, which is not asked; leave it out"),
        ("--on-disk", "give --dir or --on-disk, not both"),
    ],
)
@pytest.mark.parametrize("command", ["list", "drop --all", "replay --sink warehouse"])
def test_an_option_that_says_nothing_about_files_is_refused(
    command: str, option: str, why: str, tmp_path: Path
) -> None:
    if (command, option) == ("list", "--reason r"):
        why = "No such option: --reason"
    filled(tmp_path).close()
    answer = run(commands, [*command.split(), *option.split(), "--dir", str(tmp_path)])
    said = " ".join(answer.output.replace("│", " ").split())
    assert answer.exit_code == 2
    assert why in said
    assert len(letter_ids(tmp_path)) == 2


def test_what_was_done_to_files_is_said_as_json_too(tmp_path: Path) -> None:
    filled(tmp_path).close()
    first, second = sorted(letter_ids(tmp_path))
    options = ["--dir", str(tmp_path), "-o", "json"]
    shown = json.loads(run(commands, ["drop", "--all", "--dry-run", *options]).output)
    assert sorted(item["letter_id"] for item in shown) == [first, second]
    (result,) = json.loads(run(commands, ["replay", first, *options]).output)
    assert result == {
        "job_id": "load",
        "run_id": result["run_id"],
        "letter_id": first,
        "result": "changed",
        "detail": None,
    }
    assert letter_ids(tmp_path) == [second]


def test_letters_of_a_folder_are_replayed_and_dropped_by_name(tmp_path: Path) -> None:
    filled(tmp_path).close()
    folder = ["--dir", str(tmp_path)]
    first, second = letter_ids(tmp_path)
    assert "1 dead letter: replay" in run(commands, ["replay", second, *folder]).output
    assert "no dead letter nine; `piko spool list` shows" in str(
        run(commands, ["drop", "nine", *folder]).exception
    )
    assert letter_ids(tmp_path) == [first]
    assert "2 waiting for warehouse" in run(commands, ["list", *folder]).output
    assert "1 dead letter: drop (--dry-run)" in run(commands, ["drop", "--all", "--dry-run", *folder]).output
    assert letter_ids(tmp_path) == [first]
    assert "1 dead letter: drop" in run(commands, ["drop", "--all", *folder]).output
    assert run(commands, ["drop", *folder]).exit_code == 2
    assert letter_ids(tmp_path) == []


def test_what_is_of_one_run_is_found_by_it(tmp_path: Path) -> None:
    file = SpoolFile(tmp_path / "one.spool")
    for run_id in ("r1", "r2"):
        item = intent("k", {"n": 1}, sink="warehouse")
        item.run_id = run_id
        file.put([("warehouse", encode(item))] * 2)
    for kept in file.fetch("warehouse", after=0, limit=4)[1:3]:
        file.bury("warehouse", [DeadIntent("ValueError: no", kept.id)])
    file.close()
    folder = ["--dir", str(tmp_path)]
    shown = run(commands, ["list", "--run", "r2", *folder]).output
    assert "1 waiting for warehouse" in shown
    assert "job load  run r2  key k  ValueError: no" in shown
    assert "run r1" not in shown
    (letter,) = json.loads(run(commands, ["list", "--run", "r1", "-o", "json", *folder]).output)[
        "dead_letters"
    ]
    assert (letter["job_id"], letter["run_id"], letter["key"]) == ("load", "r1", "k")
    assert "the spool holds nothing of run 'r9'" in run(commands, ["list", "--run", "r9", *folder]).output
    assert "1 dead letter: drop" in run(commands, ["drop", "--run", "r2", *folder]).output
    assert run(commands, ["drop", "--run", "r2", "--all", *folder]).exit_code == 2
    assert "1 dead letter: replay" in run(commands, ["replay", "--job", "load", *folder]).output


@pytest.mark.parametrize("command", [["list"], ["replay", "--all"], ["drop", "--all"]])
def test_a_spool_that_is_not_there_is_not_called_empty(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, what in (("none", "there is no such folder"), ("file", "is not a folder")):
        answer = piko_here("spool", *command, "--dir", str(tmp_path / name), cwd=tmp_path)
        assert answer.code == CANNOT
        assert answer.out == ""
        assert f"--dir '{tmp_path / name}': {what}; run this on the replica's machine" in answer.err
    answer = piko_here("spool", *command, "--on-disk", cwd=tmp_path, dsn="sqlite+aiosqlite:///x.db")
    assert answer.code == CANNOT
    assert "setting `spool_dir` = '.piko/spool': there is no such folder" in answer.err


def test_a_file_that_is_no_spool_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.spool").write_text("not a database" * 100)
    answer = piko_here("spool", "list", "--dir", str(tmp_path), cwd=tmp_path)
    assert answer.code == CANNOT
    assert f"spool {tmp_path}/x.spool: file is not a database" in answer.err
