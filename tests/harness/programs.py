"""Python programs that a test starts: runtime replicas, operators, anything with a command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.harness.processes import ChildProcess
from tests.harness.reaper import Reaper
from tests.harness.terminals import Terminal


class PikoProcessFactory:
    """Starts `python ARGUMENTS…`, remembers what it started, and ends what still runs after the test.

    A program inherits the environment except what could lead it astray: settings of Piko, and a kubeconfig,
    for which it gets one that names no cluster, lest it find the developer's own.
    """

    def __init__(self, *, folder: Path, reaper: Reaper) -> None:
        self._folder = folder
        self._reaper = reaper
        self.started: list[ChildProcess] = []

    def __call__(
        self,
        *arguments: str | Path,
        env: Mapping[str, str] | None = None,
        name: str = "piko",
        cwd: Path | None = None,
        python: Path = Path(sys.executable),
    ) -> ChildProcess:
        return self._start(arguments, env=env, name=name, cwd=cwd, python=python, terminal=None)

    def on_a_terminal(
        self, *arguments: str | Path, env: Mapping[str, str] | None = None, name: str = "piko"
    ) -> tuple[ChildProcess, Terminal]:
        """As a person starts it."""
        terminal = Terminal(self._log(name))
        python = Path(sys.executable)
        settings = {"TERM": "xterm-256color", **(env or {})}
        process = self._start(arguments, env=settings, name=name, cwd=None, python=python, terminal=terminal)
        return process, terminal

    def _log(self, name: str) -> Path:
        return self._folder / f"{len(self.started)}-{name}.log"

    def _start(
        self,
        arguments: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None,
        name: str,
        cwd: Path | None,
        python: Path,
        terminal: Terminal | None,
    ) -> ChildProcess:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("PIKO_")}
        environment = {
            **inherited,
            "KUBECONFIG": str(self._folder / "no.kubeconfig"),
            "PYTHONUNBUFFERED": "1",
            **(env or {}),
        }
        process = ChildProcess(
            [python, *arguments],
            name=name,
            log=self._log(name),
            reaper=self._reaper,
            environment=environment,
            cwd=cwd,
            terminal=terminal,
        )
        self.started.append(process)
        return process

    def close(self) -> None:
        for process in self.started:
            process.kill()
