"""Type checkers as a team runs them over its own code: strict, without this repository's configuration."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

Finding = tuple[str, int, str]
"""Name of a file, number of a line, and what is wrong there."""

_MYPY_LINE = re.compile(r"(?P<file>[^:]+):(?P<line>\d+): error: (?P<text>.*)")


def mypy(folder: Path, *options: str) -> set[Finding]:
    """What mypy finds in the programs of `folder`; its cache stands beside it, for the next folder there."""
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--config-file=",
        f"--cache-dir={folder.parent / 'mypy'}",
        *options,
        ".",
    ]
    outcome = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert outcome.returncode in (0, 1), outcome.stdout + outcome.stderr
    lines = (_MYPY_LINE.fullmatch(line) for line in outcome.stdout.splitlines())
    found = {(each["file"], int(each["line"]), each["text"]) for each in lines if each}
    assert bool(found) == bool(outcome.returncode), outcome.stdout + outcome.stderr
    return found


def pyright(folder: Path) -> set[Finding]:
    """What pyright finds in the programs of `folder`, in its mode `strict`."""
    settings = {"typeCheckingMode": "strict", "include": ["."], "pythonVersion": "3.11"}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    outcome = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert outcome.returncode in (0, 1), outcome.stdout + outcome.stderr
    return {
        (
            str(Path(each["file"]).relative_to(folder.resolve())),
            each["range"]["start"]["line"] + 1,
            each["message"],
        )
        for each in json.loads(outcome.stdout)["generalDiagnostics"]
    }


def pyright_is_here() -> bool:
    """Whether pyright is installed, and Node, on which it runs."""
    return shutil.which("node") is not None and Path(sys.executable).with_name("pyright").is_file()
