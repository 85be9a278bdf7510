"""`piko test`: a job of the working directory runs once, and nothing is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.piko import CANNOT, NEEDS_ACTION, OK, piko
from tests.harness.programs import PikoProcessFactory
from tests.testing.test_plugin import tutorial

WINDOW = ("--window", "2026-03-01T00:00Z/2026-03-01T01:00Z")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tutorial(tmp_path)
    return tmp_path


def test_a_window_runs_and_what_it_would_write_is_shown(folder: Path) -> None:
    said = piko("test", "sync_orders", *WINDOW, "--config", '{"at_once": 12}', cwd=folder)
    assert said.code == OK
    assert said.out.startswith("sync_orders: SUCCESS\n  orders = 12\n  12 to sink warehouse:\n    0: ")
    assert said.out.endswith("… and 2 more\n")
    assert "to the warehouse" not in said.out
    assert not (folder / ".piko").exists()


def test_programs_get_all_of_it(folder: Path) -> None:
    app = folder / "app.py"
    app.write_text(app.read_text() + "    print('for the person')\n")
    said = piko("test", "sync_orders", *WINDOW, "--config", '{"at_once": 1}', "-o", "json", cwd=folder)
    assert "for the person" in said.err
    assert json.loads(said.out) == {
        "job_id": "sync_orders",
        "state": "SUCCESS",
        "error": None,
        "error_type": None,
        "result": {"orders": 1},
        "intents": {"warehouse": [{"key": "0", "payload": {"order": 0}}]},
    }


def test_a_run_that_fails_shows_its_error_and_ends_with_1(
    piko_process: PikoProcessFactory, folder: Path
) -> None:
    app = folder / "app.py"
    app.write_text(app.read_text() + "    raise OSError('the shop is away')\n")
    program = piko_process("-m", "piko", "test", "sync_orders", *WINDOW, cwd=folder)
    assert program.wait() == NEEDS_ACTION
    assert "sync_orders: FAILED\nOSError: the shop is away\nTraceback " in program.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sync_order", *WINDOW], "did you mean `sync_orders`"),
        (["sync_orders", "--window", "2026-03-01"], "window"),
        (["sync_orders", *WINDOW, "--config", "[1]"], "--config"),
        (["sync_orders", *WINDOW, "--config", '{"at_once": "many"}'], "at_once"),
    ],
)
def test_what_does_not_fit_is_refused_with_2(words: list[str], said: str, folder: Path) -> None:
    answer = piko("test", *words, cwd=folder)
    assert (answer.code, answer.out) == (CANNOT, "")
    assert said in answer.err
