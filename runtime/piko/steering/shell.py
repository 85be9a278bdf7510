"""What an act is at a shell: the same act as a command, for a ticket, a runbook or the next time."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from piko.store.reports.dead_letters import LetterFilter
from piko.store.reports.jobs import JobFilter
from piko.store.reports.runs import RunFilter
from piko.text import instant_text


def command(*words: str, reason: str | None = None, **options: object) -> str:
    """`piko` with `words` and `options`, quoted for a POSIX shell.

    An option is named as the keyword, with dashes; `frm` is `--from`. None and False leave it out, True gives
    it no value, a list repeats it; instants are written in UTC, objects as JSON.
    """
    parts = ["piko", *words]
    for name, value in {**options, "reason": reason}.items():
        option = "--from" if name == "frm" else f"--{name.replace('_', '-')}"
        for item in value if isinstance(value, list | tuple) else [value]:
            if item is None or item is False or item == {}:
                continue
            parts += [option] if item is True else [option, _text(item)]
    return shlex.join(parts)


def of_jobs(verb: str, wanted: JobFilter, *, reason: str | None, **options: object) -> str:
    """`verb` for every job that `wanted` leaves."""
    return command(verb, **_options(wanted), **options, reason=reason)


def of_runs(verb: str, wanted: RunFilter, *, reason: str | None) -> str:
    """`verb` for every run that `wanted` leaves, by way of their list."""
    known = {name: value for name, value in _options(wanted).items() if name != "until"}
    before = "" if wanted.until is None else f' | select(.scheduled_time < "{instant_text(wanted.until)}")'
    ids = shlex.quote(f".[]{before} | .run_id")
    listed = command("runs", **known, limit=MOST, output="json")
    return f"{listed} | jq -r {ids} | xargs -n 1 {command('runs', verb, reason=reason)}"


def of_letters(verb: str, wanted: LetterFilter, *, reason: str | None) -> str:
    """`verb` for every dead letter that `wanted` leaves."""
    options = _options(wanted)
    return command("spool", verb, **(options or {"all": True}), reason=reason)


MOST = 1000
"""Of what one act is done to."""

_NAMES: Mapping[str, str] = {
    "job_id": "job",
    "run_id": "run",
    "instance_id": "replica",
    "states": "state",
    "backfill_id": "backfill",
}
"""Of filters that the command line names otherwise."""


def _options(wanted: JobFilter | RunFilter | LetterFilter) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in fields(wanted):
        value = getattr(wanted, item.name)
        if value is False:
            found[f"not_{item.name}"] = True
        elif value is not None and value != ():
            found[_NAMES.get(item.name, item.name)] = value
    return found


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return instant_text(value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)
