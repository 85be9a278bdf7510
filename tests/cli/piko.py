"""The `piko` command as a person runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

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
