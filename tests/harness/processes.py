"""Child processes of a test run: a log file each, waiting by condition, none outliving the run."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.harness.reaper import Reaper
from tests.harness.terminals import Terminal
from tests.harness.waiting import PATIENCE_S, wait_until

_SHOWN_LINES = 80


class ChildProcess:
    """A program in a process group of its own, whose output goes to `log`.

    `pid` is the program's own: signals reach it and not a wrapper. With a `terminal` it runs on that.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        name: str,
        log: Path,
        reaper: Reaper,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        terminal: Terminal | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._reaper = reaper
        self._group_has_ended = False
        begin = () if terminal is None else terminal.begin
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(part) for part in (*begin, *command)],
                stdin=subprocess.DEVNULL if terminal is None else terminal.theirs,
                stdout=output if terminal is None else terminal.theirs,
                stderr=subprocess.STDOUT,
                env=dict(os.environ if environment is None else environment),
                cwd=cwd,
                start_new_session=terminal is None,
            )
        if terminal is not None:
            terminal.start()
        reaper.adopt_group(self.pid)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; minus the signal's number when a signal ended it."""
        return self._process.poll()

    @property
    def running(self) -> bool:
        return self.returncode is None

    @property
    def output(self) -> str:
        """Everything it has printed so far; while it runs, without a line whose end is yet to come."""
        ended = not self.running
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return text if ended else text[: text.rfind("\n") + 1]

    def wait_for_line(self, pattern: str, *, timeout: float = PATIENCE_S) -> str:
        """The first whole line of output in which the regular expression is found.

        Raises `AssertionError` at the timeout, or at once when the program ends without such a line.
        """
        compiled = re.compile(pattern)

        def matches() -> list[str]:
            ended = not self.running
            found = [line for line in self.output.splitlines() if compiled.search(line)]
            if ended and not found:
                raise AssertionError(
                    f"{self.name} ended with {self.returncode} and never printed /{pattern}/"
                )
            return found

        try:
            return wait_until(matches, timeout=timeout, what=f"{self.name} to print /{pattern}/")[0]
        except AssertionError as failure:
            failure.add_note(f"output of {self.name}:\n{self.tail()}")
            raise

    def wait(self, *, timeout: float = PATIENCE_S) -> int:
        """Waits for its end and returns the return code."""
        try:
            code = self._process.wait(timeout=timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still runs after {timeout:g} s:\n{self.tail()}") from None
        self._end_group()
        return code

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def terminate(self, *, timeout: float = PATIENCE_S) -> int:
        """SIGTERM, then `wait`."""
        self._process.terminate()
        return self.wait(timeout=timeout)

    def kill(self) -> None:
        """SIGKILL to the program and to what it has started in its group."""
        self._end_group()
        self._process.wait(timeout=PATIENCE_S)

    def tail(self) -> str:
        """The end of the output."""
        return "\n".join(self.output.splitlines()[-_SHOWN_LINES:])

    def _end_group(self) -> None:
        """Once: the number of a group that has ended may be that of another by now."""
        if self._group_has_ended:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._group_has_ended = True
        self._reaper.release_group(self.pid)


def lives(pid: int) -> bool:
    """Whether there is such a process; one that has ended and that nobody has collected yet does not live."""
    return state_of(pid) not in (None, "Z")


def state_of(pid: int) -> str | None:
    """What it does, in the letter that the kernel has for it: `T` is stopped; None: there is no such one."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # the latter if it ends between opening and reading
        return None
