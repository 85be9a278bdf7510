"""The reference part of `docs/reference/command-line.md`, from the program itself.

`python -m tests.cli.reference` regenerates it.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, get_args

import typer

from piko.cli import program

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "command-line.md"
BEGIN = "<!-- generated: commands -->\n"
END = "<!-- end generated -->\n"


_SAID_ONCE = ("help", "dsn", "output")


def reference() -> str:
    """Every command with its arguments and options."""
    return "\n".join(_group("piko", typer.main.get_command(program()))) + "\n"


def written() -> str:
    """The reference as the page has it."""
    return PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]


def write() -> None:
    """Put the reference into the page."""
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}{reference()}{END}{rest.partition(END)[2]}", encoding="utf-8")


def _group(path: str, group: Any) -> Iterator[str]:
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from _group(f"{path} {name}", command)
        else:
            yield from _command(f"{path} {name}", command)


def _command(path: str, command: Any) -> Iterator[str]:
    arguments = [item for item in command.params if item.param_type_name == "argument"]
    usage = " ".join([path, *(_metavar(item) for item in arguments)])
    yield f"### `{usage}`\n"
    yield " ".join((command.help or "").split()) + "\n"
    rows = [row for item in command.params if (row := _row(item))]
    if rows:
        yield "| | |"
        yield "|---|---|"
        yield from rows
        yield ""


def _row(item: Any) -> str:
    if item.name in _SAID_ONCE:
        return ""
    text = " ".join((getattr(item, "help", None) or "").split()).replace("|", "\\|")
    if item.param_type_name == "argument":
        return f"| `{_metavar(item)}` | {text} |".replace("[EXPRESSION|", "[EXPRESSION\\|")
    name = ", ".join(f"`{opt}`" for opt in sorted(item.opts, key=len, reverse=True))
    flag = "" if item.is_flag else f" {_value(item)}"
    default = "" if item.default in (None, False, "") or item.required else f" (default {item.default})"
    needed = " **Required.**" if item.required else ""
    return f"| {name}{flag} | {text}{default}{needed} |"


def _metavar(item: Any) -> str:
    return item.metavar or item.name.upper()


def _value(item: Any) -> str:
    kinds = [item.type_descriptor.annotation]
    kinds += [part for kind in kinds for part in get_args(kind)]
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, Enum):
            return " or ".join(str(choice.value) for choice in kind)
    return str(item.metavar or ("N" if {int, float}.intersection(kinds) else "TEXT"))


if __name__ == "__main__":
    write()
