"""The first process of a container.

The kernel drops a SIGTERM for which process 1 has no handler, where any other process would end. What is
imported before an application runs takes seconds, and a rollout within them would wait out its grace period.
So that process gets the behaviour of all others, as the first thing that this package does.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress


def end_like_any_other_process() -> None:
    """Let SIGTERM end this process if it is the first of its container and no other handler is set."""
    if os.getpid() == 1 and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        with suppress(ValueError):  # not the main thread: the program is under way already
            signal.signal(signal.SIGTERM, lambda number, _: os._exit(128 + number))
