"""Piko: write jobs as async Python, schedule them with `kubectl apply` or SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from piko.first_process import end_like_any_other_process

if TYPE_CHECKING:
    from piko.app import PikoApp
    from piko.core.discovery import autodiscover

__all__ = ["PikoApp", "autodiscover"]

end_like_any_other_process()


def __getattr__(name: str) -> object:
    # The operator and the command line import parts of this package; they need not pay for the whole of it.
    if name == "PikoApp":
        from piko.app import PikoApp

        return PikoApp
    if name == "autodiscover":
        from piko.core.discovery import autodiscover

        return autodiscover
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
