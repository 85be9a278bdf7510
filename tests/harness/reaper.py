"""Ends what a test run leaves behind when it is killed.

A `Reaper` is a small process that holds the reading end of a pipe whose writing end belongs to the test run
alone. The run tells it which process groups and folders are its own. When the run dies, however it dies, the
pipe closes: the reaper then kills those groups and removes those folders, and ends. What is killed still
writes until it is dead, so that a folder may have to be removed several times; what is mounted within
it is unmounted. A parent-death signal
would not do: it follows the thread that started a process, not the run, and is lost when a server changes
its user.

The pipe has a name, so that the several processes of one run (`pytest -n`) write to the same reaper: it acts
when the last of them has ended.

This file is also the reaper's program; it needs the standard library only.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_PATIENCE_S = 300.0  # as in `waiting`, which the program cannot import
_INTERVAL_S = 0.05


class Reaper:
    """The test run's side: `adopt` what must not outlive the run, `release` what has ended in good order."""

    def __init__(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="piko-reaper-"))
        self.pipe = folder / "pipe"
        os.mkfifo(self.pipe)
        # A reader first, else the writer would wait for one; it has to be there before the program is.
        reading = os.open(self.pipe, os.O_RDONLY | os.O_NONBLOCK)
        self._writing = os.open(self.pipe, os.O_WRONLY)
        os.set_blocking(reading, True)
        self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__], stdin=reading, start_new_session=True
        )
        os.close(reading)
        self.adopt_folder(folder)

    @classmethod
    def joining(cls, pipe: Path) -> Reaper:
        """The reaper of another process of this run, by the name of its pipe."""
        joined = cls.__new__(cls)
        joined.pipe = pipe
        joined._writing = os.open(pipe, os.O_WRONLY)
        joined._process = None
        return joined

    def adopt_group(self, group: int) -> None:
        self._tell(f"+group {group}")

    def release_group(self, group: int) -> None:
        self._tell(f"-group {group}")

    def adopt_folder(self, folder: Path) -> None:
        self._tell(f"+folder {folder}")

    def close(self) -> None:
        """Lets go of the reaper. The last to do so makes it end everything that was not released."""
        os.close(self._writing)
        if self._process is not None:
            self._process.wait(timeout=_PATIENCE_S)

    def _tell(self, line: str) -> None:
        # One write below PIPE_BUF is atomic, so that threads and processes may tell at the same time.
        os.write(self._writing, f"{line}\n".encode())


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
    deadline = time.monotonic() + _PATIENCE_S
    while folders and time.monotonic() < deadline:
        for folder in folders:
            unmount_below(folder)
            shutil.rmtree(folder, ignore_errors=True)
        folders = {folder for folder in folders if Path(folder).exists()}
        time.sleep(_INTERVAL_S if folders else 0)


def unmount_below(folder: str | Path, *, check: bool = False) -> None:
    """Unmount whatever is mounted below `folder`, the innermost first; with `check`, or raise."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    for mount in sorted((path for path in mounts if path.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", mount], check=check)


if __name__ == "__main__":
    _main()
