"""What a failed test leaves open, such as connections of the line that raised.

The traceback of a failure keeps its frames alive, and with them what they held. When Python collects that
later, it warns, which fails the test that runs by then. One failure has to stay one failure: what a failed
test left is collected right after it and in silence. A test that passes is held to closing everything.
"""

from __future__ import annotations

import gc
import sys
import warnings


def collect() -> None:
    """Lets go of the last failure's frames, and of all that only they held."""
    for name in ("last_exc", "last_type", "last_value", "last_traceback"):
        if hasattr(sys, name):
            delattr(sys, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()
