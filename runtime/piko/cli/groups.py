"""Groups of commands of which one goes without saying: `piko runs` is `piko runs list`."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup


class DefaultGroup(TyperGroup):
    """Arguments that begin with no command of the group are those of `default`."""

    default: str
    """The command that goes without saying."""
    alone = False
    """Whether it is meant where there are no arguments, too."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = args[:1]
        if ctx.resilient_parsing:  # a shell asks what could follow
            return super().parse_args(ctx, args)
        if (named and named[0] not in self.commands and named[0] not in ("-h", "--help")) or (
            self.alone and not args
        ):
            args = [self.default, *args]
        return super().parse_args(ctx, args)
