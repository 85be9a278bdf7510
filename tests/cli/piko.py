"""The `piko` command as a person runs it."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from piko.cli import main
from tests.harness.locate import find_tool
from tests.harness.waiting import PATIENCE_S

OK, NEEDS_ACTION, CANNOT = 0, 1, 2
_INTERRUPTED = 130
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
        timeout=PATIENCE_S,
        check=False,
    )
    assert "Traceback" not in outcome.stderr, outcome.stderr
    return Answer(outcome.returncode, outcome.stdout, outcome.stderr)


def _path() -> str:
    """Where kubectl finds its plugin, and the plugin finds kubectl."""
    return f"{Path(sys.executable).parent}:{Path(find_tool('kubectl')).parent}:/usr/bin:/bin"


def kubectl_piko(
    *arguments: str, cwd: Path, kubeconfig: Path, stdin: str | None = None, **environment: str
) -> Answer:
    """Run `kubectl piko` as kubectl runs its plugin."""
    outcome = subprocess.run(
        [sys.executable, "-c", "from piko.cli.kubectl import main; main()", *arguments],
        cwd=cwd,
        env={"PATH": _path(), "HOME": str(cwd), "KUBECONFIG": str(kubeconfig), **IMPORT_PATH, **environment},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert "Traceback" not in outcome.stderr, outcome.stderr
    return Answer(outcome.returncode, outcome.stdout, outcome.stderr)


def watched(*arguments: str, kubeconfig: Path, answers: int) -> list[str]:
    """The lines of so many answers of `kubectl piko … -w` in a pipe, where an empty line is between two."""
    command = [sys.executable, "-c", "from piko.cli.kubectl import main; main()", *arguments]
    environment = {"PATH": _path(), "HOME": str(kubeconfig.parent), "KUBECONFIG": str(kubeconfig)}
    lines: list[str] = []
    with subprocess.Popen(
        command,
        env={**environment, **IMPORT_PATH, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                lines.append(line.rstrip("\n"))
                if lines.count("") == answers:
                    break
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE_S) == _INTERRUPTED
    return lines


def piko_here(
    *arguments: str, cwd: Path, dsn: str | None = None, stdin: str = "", **environment: str
) -> Answer:
    """The same in this process, on a thread without an event loop: a process costs a second each."""
    settings = {**environment, **({} if dsn is None else {"PIKO_MYSQL_DSN": dsn})}
    out, err = io.StringIO(), io.StringIO()

    def run() -> int:
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    with (
        chdir(cwd),
        patch.dict(os.environ, {"PATH": "/usr/bin:/bin", **IMPORT_PATH, **settings}, clear=True),
        patch.object(sys, "argv", ["piko", *arguments]),
        patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8")),
        redirect_stdout(out),
        redirect_stderr(err),
        ThreadPoolExecutor(1) as thread,
    ):
        code = thread.submit(run).result(timeout=PATIENCE_S)
    return Answer(code, out.getvalue(), err.getvalue())
