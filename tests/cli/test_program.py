"""What holds for the program as a whole."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer

from piko.cli import program
from tests.cli.piko import CANNOT, OK, piko, piko_here
from tests.harness.waiting import PATIENCE_S


def _paths(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, command in sorted(getattr(group, "commands", {}).items()):
        yield from _paths(command, (*path, name))


@pytest.mark.parametrize("path", list(_paths(typer.main.get_command(program()))), ids=" ".join)
def test_every_command_has_help_under_both_names(tmp_path: Path, path: tuple[str, ...]) -> None:
    for flag in ("-h", "--help"):
        answer = piko_here(*path, flag, cwd=tmp_path, COLUMNS="200")
        assert (answer.code, answer.err) == (OK, "")
        assert f"Usage: piko {' '.join(path)}".strip() in answer.out


_WITHOUT_AN_ANSWER = {"run", "dev", "web", "new", "completion", "db dump", "uninstall"}
"""What serves until it is stopped, writes what another program reads as it is, or says each step it takes."""


def _leaves(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, command in sorted(group.commands.items()):
        if getattr(command, "commands", None):
            yield from _leaves(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def test_every_command_with_an_answer_gives_it_as_json_too() -> None:
    commands = dict(_leaves(typer.main.get_command(program())))
    assert len(commands) > len(_WITHOUT_AN_ANSWER)
    options = {name: {param.name for param in command.params} for name, command in commands.items()}
    assert {name for name, given in options.items() if "output" not in given} == _WITHOUT_AN_ANSWER


def test_it_says_its_version(tmp_path: Path) -> None:
    assert piko_here("--version", cwd=tmp_path).out == f"piko {version('piko')}\n"


@pytest.mark.usefixtures("programs")
@pytest.mark.usefixtures("programs")
def test_a_start_imports_no_other_subcommand(tmp_path: Path) -> None:
    ask = (
        "import sys, contextlib; from piko.cli import main; sys.argv = ['piko', 'run', '--help']\n"
        "with contextlib.suppress(SystemExit): main()\n"
        "print(*sorted(name for name in sys.modules if name.startswith('piko.cli.')), file=sys.stderr)"
    )
    asked = subprocess.run(
        [sys.executable, "-c", ask],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    assert asked.stderr.split() == ["piko.cli.invocation", "piko.cli.run", "piko.cli.subcommands"]
    assert "Usage: " in asked.stdout


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_complete_it(tmp_path: Path, shell: str) -> None:
    answer = piko("--show-completion", shell, cwd=tmp_path)
    assert (answer.code, "complete" in answer.out) == (OK, True)


def test_a_misspelt_command_is_reported_with_what_was_meant(tmp_path: Path) -> None:
    answer = piko_here("jbs", cwd=tmp_path, COLUMNS="200")
    assert (answer.code, "Did you mean 'jobs'?" in answer.err) == (CANNOT, True)


@pytest.mark.usefixtures("programs")
@pytest.mark.usefixtures("programs")
def test_a_reader_that_has_seen_enough_is_no_trouble(tmp_path: Path) -> None:
    pipe = f"{sys.executable} -m piko db dump | head -n 1"
    outcome = subprocess.run(
        ["/bin/sh", "-c", pipe], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert outcome.stdout
    assert "Traceback" not in outcome.stderr
