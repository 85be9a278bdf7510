"""Pausing and resuming at the resource that owns a row, as `kubectl piko` does with the user's own rights.

The operator would undo an edit of the row. So the resource is patched, which the API server allows or not;
then the operator writes the row.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

REASON = "piko.dev/reason"
"""The annotation that keeps why."""
_SUSPENDS = {"pause": True, "resume": False}


def switched_job(command: Sequence[str]) -> str | None:
    """The one job that `command` pauses or resumes by options that a resource knows; None: it does not."""
    if len(command) < 2 or command[0] not in _SUSPENDS or command[1].startswith("-"):
        return None
    return None if _options(command[2:]) is None else command[1]


def patch_of(command: Sequence[str], owner: str) -> list[str] | None:
    """What kubectl is asked for instead of `command`, of which `switched_job` named the job.

    - `owner`: the resource: its cluster, namespace, name and uid.

    None: the resource is a file of `piko dev`.
    """
    cluster, namespace, name, _ = owner.split("/", 3)
    options = _options(command[2:])
    if cluster == "dev" or options is None:
        return None
    reason, dry_run = options
    patch: dict[str, object] = {"spec": {"suspend": _SUSPENDS[command[0]]}}
    patch["metadata"] = {"annotations": {REASON: reason}}  # null removes that of an earlier act
    words = ["patch", "pikoschedule", name, "-n", namespace, "--type", "merge", "-p", json.dumps(patch)]
    return [*words, "--dry-run=server"] if dry_run else words


def _options(words: Sequence[str]) -> tuple[str | None, bool] | None:
    """The reason, and whether it is a dry run; None: there are others."""
    reason, dry_run, rest = None, False, list(words)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if name == "--dry-run" and not equals:
            dry_run = True
        elif name == "--reason" and (equals or rest):
            reason = value if equals else rest.pop(0)
        else:
            return None
    return reason, dry_run
