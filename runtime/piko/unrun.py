"""A program that makes a `PikoApp` and never runs it says so at its end, instead of exiting in silence."""

from __future__ import annotations

import atexit
import sys
import weakref
from types import FrameType
from typing import Protocol


class _App(Protocol):
    name: str
    used: bool


def remind_at_exit(app: _App, *, made_by: FrameType) -> None:
    """Have the process say so at its end, where the program itself made `app` and no app was used."""
    module = made_by.f_globals
    if module.get("__name__") == "__main__" and module.get("__file__") and not hasattr(sys, "ps1"):
        atexit.register(_remind, weakref.ref(app))


def _remind(reference: weakref.ref[_App]) -> None:
    app = reference()
    failed = hasattr(sys, "last_value")  # its traceback has been shown, and says what is wrong
    if app is None or failed or app.used or _one_is_used(type(app)):
        return
    sys.stderr.write(
        f"piko: this program made the PikoApp {app.name!r} and ended without running it: "
        "nothing was scheduled; end the file with `app.run()`, or start it with `piko run MODULE:ATTRIBUTE`\n"
    )


def _one_is_used(kind: type[_App]) -> bool:
    """Whether any app of this process was: a server may have imported the program once more by its name."""
    modules = list(sys.modules.values())
    values = [value for module in modules for value in list(getattr(module, "__dict__", {}).values())]
    return any(isinstance(value, kind) and value.used for value in values)
