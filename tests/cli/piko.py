"""The `piko` command as a person runs it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from piko.cli import main

OK, NEEDS_ACTION, CANNOT = 0, 1, 2
IMPORT_PATH = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}


@dataclass(frozen=True, slots=True)
class Answer:
    """How a command ended."""

    code: int
    out: str
    err: str


def piko(
    *arguments: str, cwd: Path, dsn: str | None = None, stdin: str | None = None, **environment: str
) -> Answer:
    """Run `piko` in a process of its own, with no settings but these."""
    settings = {**environment, **({} if dsn is None else {"PIKO_MYSQL_DSN": dsn})}
    outcome = subprocess.run(
        [sys.executable, "-m", "piko", *arguments],
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", **IMPORT_PATH, **settings},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in outcome.stderr, outcome.stderr
    return Answer(outcome.returncode, outcome.stdout, outcome.stderr)


def piko_here(*arguments: str, cwd: Path, dsn: str | None = None, stdin: str = "") -> Answer:
    """The same within this process, which saves the start of another one."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIKO_")}
    settings = {} if dsn is None else {"PIKO_MYSQL_DSN": dsn}
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        chdir(cwd),
        patch.dict(os.environ, {**kept, **settings}, clear=True),
        patch.object(sys, "argv", ["piko", *arguments]),
        patch.object(sys, "stdin", io.StringIO(stdin)),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
    return Answer(code, out.getvalue(), err.getvalue())
