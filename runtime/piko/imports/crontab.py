"""Lines of a crontab as schedules, by the rules of crontab(5) of Debian's cron and of cronie."""

from __future__ import annotations

import re
import shlex
from pathlib import PurePosixPath
from typing import Any

from piko.imports.translations import Left, Translated, name_of

_VARIABLE = re.compile(r"""([A-Za-z_]\w*|"[^"]*"|'[^']*')\s*=\s*(.*)""")
_RANDOM = re.compile(r"(\d*)~(\d*)")
_BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
"""Of the five fields, for an end of a random range that is left out."""
_NICKNAMES = ("@annually", "@daily", "@hourly", "@midnight", "@monthly", "@weekly", "@yearly")
_MOST_LINES = 10_000

_SCRIPTS = {".bash", ".js", ".php", ".pl", ".py", ".rb", ".sh"}
# They begin a command, and what they are given is what runs.
_WRAPPERS = {
    "bash", "chronic", "env", "exec", "ionice", "nice", "nohup", "perl", "php", "python", "python3", "ruby",
    "sh", "sudo", "time", "timeout",
}  # fmt: skip


def read_crontab(
    text: str, *, with_user: bool = False, zone: str | None = None
) -> tuple[list[Translated], list[Left]]:
    """The schedules of a crontab, and the lines that have no counterpart.

    `with_user` is the form of /etc/crontab, which names a user before the command. `zone` is the IANA zone of
    lines above which no `CRON_TZ` stands; without it they have none.
    """
    found: list[Translated] = []
    left: list[Left] = []
    names: set[str] = set()
    lines = text.splitlines()
    for number, line in enumerate(map(str.strip, lines[:_MOST_LINES]), start=1):
        if not line or line.startswith("#"):
            continue
        variable = _VARIABLE.fullmatch(line)
        if variable and variable.group(1).strip("\"'") == "CRON_TZ":
            zone = variable.group(2).strip().strip("\"'") or None
            continue
        if variable:
            item: Translated | str = "a variable has no counterpart: set it where the runtime runs"
        else:
            item = _entry(line, number, with_user, zone, names)
        if isinstance(item, str):
            left.append(Left(line=number, what=line, why=item))
        else:
            names.add(item.name)
            found.append(item)
    if len(lines) > _MOST_LINES:
        why = f"only {_MOST_LINES} lines of a file are read: split it"
        left.append(Left(line=_MOST_LINES + 1, what=f"{len(lines) - _MOST_LINES} lines", why=why))
    return found, left


def _entry(line: str, number: int, with_user: bool, zone: str | None, names: set[str]) -> Translated | str:
    """The schedule of a line, or why it has none."""
    count = 1 if line.startswith("@") else len(_BOUNDS)
    parts = line.split(None, count + with_user)
    if len(parts) <= count + with_user:
        fields = "a name" if count == 1 else "five fields"
        return f"expected {fields}, a user and a command" if with_user else f"expected {fields} and a command"
    cron = _nickname(parts[0]) if count == 1 else _cron(parts[:count])
    if cron is None:
        return _no_counterpart(parts[0].lower())
    spec: dict[str, Any] = {"schedule": {"cron": cron}}
    if zone is not None:
        spec["timeZone"] = zone
    return Translated(
        line=number,
        name=name_of(_program(parts[-1]), names),
        spec=spec,
        before=line,
        metadata={},
        notes=(f"It ran as the user {parts[count]}.",) if with_user else (),
    )


def _nickname(text: str) -> str | None:
    return text.lower() if text.lower() in _NICKNAMES else None


def _cron(fields: list[str]) -> str | None:
    """The fields, with `H` where cron chooses at random; None where that has no counterpart."""
    written = []
    for field, (lowest, highest) in zip(fields, _BOUNDS, strict=True):
        chosen = _RANDOM.fullmatch(field)
        if chosen is None and "~" in field:
            return None
        if chosen is None:
            written.append(field)
        elif any(chosen.groups()):
            written.append(f"H({chosen.group(1) or lowest}-{chosen.group(2) or highest})")
        else:
            written.append("H")
    return " ".join(written)


def _no_counterpart(first: str) -> str:
    if first == "@reboot":
        return "Piko knows no start of a machine: use an init container, or `piko trigger`"
    if first.startswith("@"):
        return f"{first} is not known; expected one of {' '.join(_NICKNAMES)}"
    return "a random value within a list or with a step has no counterpart; write H or H(a-b) alone"


def _program(command: str) -> str:
    """The word of a command that says best what it does: the program, or the script that it is given."""
    last = re.split(r"&&|;", command.split("|", 1)[0])[-1].strip() or command
    try:
        words = shlex.split(last)
    except ValueError:  # a quotation without an end, which the shell would refuse, too
        words = last.split()
    for word in words:
        path = PurePosixPath(word)
        program = path.stem if path.suffix in _SCRIPTS else path.name
        assigns = re.match(r"[A-Za-z_]\w*=", word) is not None
        # A number is what `nice` and `timeout` are given.
        if assigns or word.startswith("-") or program in _WRAPPERS or re.fullmatch(r"[\d.]+[smhd]?", word):
            continue
        return program
    return last
