"""A terminal on which a program runs, as at a person's desk."""

from __future__ import annotations

import os
import termios
import threading
from pathlib import Path

_CHUNK = 65_536
CTRL_C = b"\x03"


class Terminal:
    """A pseudo-terminal. What is shown on it goes to `log`.

    `begin`: put this before a command, so that the terminal is the program's own and Ctrl-C reaches it.
    """

    begin = ("setsid", "--ctty")

    def __init__(self, log: Path, *, lines: int = 40, columns: int = 120) -> None:
        self._ours, self.theirs = os.openpty()
        termios.tcsetwinsize(self.theirs, (lines, columns))
        self._log = log
        self._copying = threading.Thread(target=self._copy, daemon=True)

    def start(self) -> None:
        """Call it once the program has been started: from here on the end of the program ends the copying."""
        os.close(self.theirs)
        self._copying.start()

    def press(self, keys: bytes) -> None:
        """As if a person had typed them."""
        os.write(self._ours, keys)

    def _copy(self) -> None:
        with self._log.open("ab", buffering=0) as log:
            while shown := self._read():
                log.write(shown)
        os.close(self._ours)

    def _read(self) -> bytes:
        try:
            return os.read(self._ours, _CHUNK)
        except OSError:  # Linux says so of a terminal on which no program runs any more
            return b""
