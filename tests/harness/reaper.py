"""Ends what a test run leaves behind when it is killed.

A `Reaper` is a small process that holds the reading end of a pipe whose writing end belongs to the test run
alone. The run tells it which process groups and folders are its own. When the run dies, however it dies, the
pipe closes: the reaper then kills those groups and removes those folders, and ends. A parent-death signal
would not do: it follows the thread that started a process, not the run, and is lost when a server changes
its user.

This file is also the reaper's program; it needs the standard library only.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path


class Reaper:
    """The test run's side: `adopt` what must not outlive the run, `release` what has ended in good order."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__], stdin=subprocess.PIPE, start_new_session=True, bufsize=0
        )

    def adopt_group(self, group: int) -> None:
        self._tell(f"+group {group}")

    def release_group(self, group: int) -> None:
        self._tell(f"-group {group}")

    def adopt_folder(self, folder: Path) -> None:
        self._tell(f"+folder {folder}")

    def close(self) -> None:
        """Ends the reaper, which first ends everything that was not released."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        # One write below PIPE_BUF is atomic, so that threads may tell at the same time.
        self._process.stdin.write(f"{line}\n".encode())


def _main() -> None:
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    groups: set[int] = set()
    folders: set[str] = set()
    for line in sys.stdin:
        verb, value = line.rstrip("\n").split(" ", 1)
        match verb:
            case "+group":
                groups.add(int(value))
            case "-group":
                groups.discard(int(value))
            case "+folder":
                folders.add(value)
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _main()
