"""The options of `kubectl piko` itself: which cluster, which namespace, which release."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from piko.cli.answers import Output
from piko.cli.done_by import options_of
from piko.cli.subcommands import SUBCOMMANDS
from piko.errors import RefusedError

STREAMS = frozenset(("-w", "--watch", "-f", "--follow"))
"""Options with which a command shows more until it is interrupted."""
NAMESPACE, RELEASE, POD = "--namespace", "--release", "--pod"
EVERYWHERE = "--all-namespaces"
_VALUED = (NAMESPACE, "--context", "--kubeconfig", RELEASE, POD)
_SHORT = {"-n": NAMESPACE, "-A": EVERYWHERE}
_NAMES = frozenset((*_VALUED, EVERYWHERE, *_SHORT))
_HELP = ("-h", "--help")
_COUNT = "-n"


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginCall:
    """What somebody asked for: `options` by their long names, and `command` with its own options.

    - `everywhere`: in all namespaces.
    """

    options: Mapping[str, str]
    command: Sequence[str]
    everywhere: bool = False


def read_call(arguments: Sequence[str]) -> PluginCall:
    """What `arguments` say; the options stand before the command or behind it. Raises `RefusedError`."""
    options: dict[str, str] = {}
    rest = list(arguments)
    while rest and rest[0].startswith("-") and rest[0] not in _HELP:
        if not _take(rest, options, _NAMES):
            known = ", ".join((*_VALUED, EVERYWHERE))
            raise RefusedError(f"{rest[0]}: is not known before the command; expected {known}")
    command = [rest.pop(0)] if rest else []
    subcommand = SUBCOMMANDS.get(command[0]) if command else None
    if subcommand is None or subcommand.needs_no_release:
        command += rest
    else:
        _take_behind(command, rest, options)
    everywhere = options.pop(EVERYWHERE, None) is not None
    return PluginCall(options=options, command=command, everywhere=everywhere)


def output_of(command: Sequence[str]) -> Output:
    """The form of the answer that `command` asks for; text where it names none that there is."""
    for word, following in zip(command, [*command[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name in ("-o", "--output"):
            given = value if equals else following
            return Output(given) if given in list(Output) else Output.TEXT
    return Output.TEXT


def _take_behind(command: list[str], rest: list[str], options: dict[str, str]) -> None:
    """Move what is kubectl's from `rest` to `options`, and all else to the command."""
    own = options_of(command[0])
    names = _NAMES - own.keys()
    while rest and rest[0] != "--":
        if not _take(rest, options, names):
            _check_count(command[0], rest, own)
            command.append(rest.pop(0))
    command += rest


def _take(rest: list[str], options: dict[str, str], names: Collection[str]) -> bool:
    """Move the first of `rest` to `options` if it is one of `names`; whether it was."""
    name, equals, value = rest[0].partition("=")
    if name not in names:
        return False
    rest.pop(0)
    long = _SHORT.get(name, name)
    if long != EVERYWHERE and not equals:
        if not rest:
            raise RefusedError(f"{name}: expected a value")
        value = rest.pop(0)
    options[long] = value
    return True


def _check_count(command: str, rest: Sequence[str], own: Mapping[str, str]) -> None:
    """Refuse a namespace where `-n` is a number."""
    if rest[0] == _COUNT and _COUNT in own and len(rest) > 1 and not rest[1].isdecimal():
        raise RefusedError(
            f"{command} {_COUNT} {rest[1]}: behind {command}, {_COUNT} means: {own[_COUNT]} "
            f"A namespace goes before it: kubectl piko {_COUNT} {rest[1]} {command}"
        )
