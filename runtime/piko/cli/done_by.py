"""Who does a command for `kubectl piko`, and which options of it are its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

from typer.core import TyperGroup
from typer.main import get_command

from piko.cli import program
from piko.cli.answers import is_job_id
from piko.cli.groups import DefaultGroup
from piko.cli.subcommands import SUBCOMMANDS, ReadCommand

_HELP = frozenset(("-h", "--help"))


class DoneBy(Enum):
    """Who does a command for `kubectl piko`."""

    PLUGIN = "plugin"
    """The person's own machine: no release is needed."""
    SERVICE = "service"
    """The web service of the release answers what the command shows."""
    POD = "pod"
    """`kubectl exec` in a pod of the release."""


def done_by(command: Sequence[str]) -> DoneBy:
    """Who does `command`, unless a resource can."""
    known = SUBCOMMANDS.get(command[0])
    if known is None or not _HELP.isdisjoint(command):
        return DoneBy.PLUGIN
    found, rest = _command(command[0]), list(command[1:])
    leaf = ""
    if isinstance(found, TyperGroup):
        if rest and rest[0] in found.commands:
            leaf = rest.pop(0)
        elif isinstance(found, DefaultGroup) and (rest or found.alone):
            leaf = found.default
        else:
            return DoneBy.PLUGIN  # it says what it has
        found = found.commands[leaf]
    reading = known.reads.get(leaf)
    if reading is not None and _reads(found, rest, reading):
        return DoneBy.SERVICE
    return DoneBy.PLUGIN if known.here else DoneBy.POD


def options_of(name: str) -> Mapping[str, str]:
    """The options of a command, or of all commands of a group, each with what it means; none: no command."""
    if name not in SUBCOMMANDS:
        return {}
    return {
        option: str(getattr(parameter, "help", None) or "")
        for found in _leaves(_command(name))
        for parameter in found.params
        for option in parameter.opts
        if option.startswith("-")
    }


def readings() -> Sequence[str]:
    """The commands that the web service answers, as they are typed."""
    return sorted(f"{name} {leaf}".strip() for name, known in SUBCOMMANDS.items() for leaf in known.reads)


def _command(name: str) -> Any:
    """A command or a group of them, as Typer makes it."""
    group = get_command(program([name]))
    assert isinstance(group, TyperGroup)
    return group.commands[name]


def _leaves(found: Any) -> Iterator[Any]:
    if isinstance(found, TyperGroup):
        yield from found.commands.values()
    else:
        yield found


def _reads(found: Any, words: Sequence[str], reading: ReadCommand) -> bool:
    given: Mapping[str, Any] = found.make_context(None, list(words), resilient_parsing=True).params
    of_job = reading.of_job is None or is_job_id(str(given.get(reading.of_job) or ""))
    return of_job and not any(given.get(name) for name in ("dsn", *reading.unless))
