"""The `piko` command as a person runs it."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
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
    return _answer(
        [sys.executable, "-m", "piko", *arguments],
        cwd=cwd,
        environment={"PATH": "/usr/bin:/bin", **settings},
        stdin=stdin,
    )


def _answer(
    command: Sequence[str], *, cwd: Path, environment: Mapping[str, str], stdin: str | None
) -> Answer:
    outcome = subprocess.run(
        command,
        cwd=cwd,
        env={**IMPORT_PATH, **environment},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert "Traceback" not in outcome.stderr, outcome.stderr
    return Answer(outcome.returncode, outcome.stdout, outcome.stderr)


# What runs in the background of a shell ignores SIGINT, and so would what it starts.
_INTERRUPTIBLE = ["/usr/bin/env", "--default-signal=INT"]
_PLUGIN = (sys.executable, "-c", "from piko.cli.kubectl import main; main()")


def _as_kubectl_has_it(kubeconfig: Path, *, home: Path) -> dict[str, str]:
    """An environment in which kubectl finds its plugin, and the plugin finds kubectl."""
    path = f"{Path(sys.executable).parent}:{Path(find_tool('kubectl')).parent}:/usr/bin:/bin"
    return {"PATH": path, "HOME": str(home), "KUBECONFIG": str(kubeconfig)}


def kubectl_piko(
    *arguments: str, cwd: Path, kubeconfig: Path, stdin: str | None = None, **environment: str
) -> Answer:
    """Run `kubectl piko` as kubectl runs its plugin."""
    return _answer(
        [*_PLUGIN, *arguments],
        cwd=cwd,
        environment={**_as_kubectl_has_it(kubeconfig, home=cwd), **environment},
        stdin=stdin,
    )


def watched(*arguments: str, kubeconfig: Path, answers: int) -> list[str]:
    """The lines of so many answers of `kubectl piko … -w` in a pipe, where an empty line is between two."""
    environment = _as_kubectl_has_it(kubeconfig, home=kubeconfig.parent)
    lines: list[str] = []
    with subprocess.Popen(
        [*_INTERRUPTIBLE, *_PLUGIN, *arguments],
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


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended by a signal.

    - `err`: what was on stderr.
    - `children`: how many processes it had when the signal was sent.
    - `left`: which of them are left.
    """

    code: int
    err: str
    children: int
    left: Sequence[int]


def ended_by(
    number: signal.Signals, *arguments: str, cwd: Path, kubeconfig: Path, until: str, **environment: str
) -> Ended:
    """Send the signal to `kubectl piko …`, and to nothing else, once it has printed a line with `until`."""
    with subprocess.Popen(
        [*_INTERRUPTIBLE, *_PLUGIN, *arguments],
        cwd=cwd,
        env={
            **_as_kubectl_has_it(kubeconfig, home=cwd),
            **IMPORT_PATH,
            "PYTHONUNBUFFERED": "1",
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if until in line:
                break
        listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii")
        children = [int(pid) for pid in listed.split()]
        process.send_signal(number)
        _, err = process.communicate(timeout=PATIENCE_S)
    return Ended(
        process.returncode, err, len(children), [pid for pid in children if Path(f"/proc/{pid}").exists()]
    )


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
