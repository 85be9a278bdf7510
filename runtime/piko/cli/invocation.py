"""How the command was called, so that the commands that it prints can be run as they stand.

Remedies come from everywhere, the database, the web service and errors, and name commands as `piko …`. For
somebody who has called `kubectl piko -n data`, that is `kubectl piko -n data …`. Documents for programs and
the lines of a run's log stay as they are.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextvars import ContextVar

from piko.cli.subcommands import SUBCOMMANDS

PLUGIN = "kubectl piko"
CALLED_AS = "KUBECTL_PIKO_CALLED_AS"
"""The environment variable that says it to the command in a pod."""
_HAS = "|".join(name for name, known in SUBCOMMANDS.items() if known.absent is None)
_COMMAND = re.compile(rf"(?<![\w./-])(?<!kubectl )piko (?=({_HAS})(?![\w-]))")

called_as: ContextVar[str | None] = ContextVar("called_as", default=None)
"""What stands before the name of a command; None: it is `piko`, or what `CALLED_AS` says."""


def plugin_with(options: Mapping[str, str]) -> str:
    """How `kubectl piko` is called with these options, by their long names."""
    import shlex

    words = [
        f"-n {value}" if name == "--namespace" else f"{name}={shlex.quote(value)}"
        for name, value in options.items()
    ]
    return " ".join([PLUGIN, *words])


def program_name() -> str:
    """What stands before the name of a command."""
    return called_as.get() or os.environ.get(CALLED_AS) or "piko"


def as_called(text: str) -> str:
    """`text` with each command of Piko in it as the person would type it."""
    name = program_name()
    if name == "piko":
        return text
    return _COMMAND.sub(lambda found: f"{PLUGIN if SUBCOMMANDS[found[1]].needs_no_release else name} ", text)
