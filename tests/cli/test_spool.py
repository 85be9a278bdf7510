"""`piko spool` as a person uses it."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from piko.cli.spool import commands
from piko.persistence.codec import encode
from piko.store.spool import SpoolFile
from tests.persistence.writing import intent

run = CliRunner().invoke


def filled(folder: Path) -> SpoolFile:
    file = SpoolFile(folder / "one.spool")
    file.put([("warehouse", encode(intent(key, {"n": key}, sink="warehouse"))) for key in "abc"])
    for kept in file.take("warehouse", after=0, limit=2):
        file.bury(kept, "warehouse", "ValueError: no")
    return file


def test_it_lists_what_waits_and_what_died_while_a_replica_uses_the_file(tmp_path: Path) -> None:
    file = filled(tmp_path)
    shown = run(commands, ["list", "--dir", str(tmp_path)]).output
    assert "1 waiting for warehouse" in shown
    assert "one/1  warehouse" in shown
    assert "key a  ValueError: no" in shown
    answer = json.loads(run(commands, ["list", "--dir", str(tmp_path), "-o", "json"]).output)
    assert answer["waiting"] == {"warehouse": 1}
    assert [item["letter"] for item in answer["dead_letters"]] == ["one/1", "one/2"]
    in_use = run(commands, ["drop", "--all", "--dir", str(tmp_path)])
    assert "is in use by a process that runs; stop it first" in str(in_use.exception)
    file.close()


def test_letters_are_replayed_and_dropped_by_name(tmp_path: Path) -> None:
    filled(tmp_path).close()
    folder = ["--dir", str(tmp_path)]
    assert "1 dead letters: replay" in run(commands, ["replay", "one/2", *folder]).output
    assert "no dead letter one/9; `piko spool list` shows" in str(
        run(commands, ["drop", "one/9", *folder]).exception
    )
    assert "2 waiting for warehouse" in run(commands, ["list", *folder]).output
    assert "1 dead letters: drop" in run(commands, ["drop", "--all", *folder]).output
    assert run(commands, ["drop", *folder]).exit_code == 2
    assert "dead" not in run(commands, ["list", *folder]).output
