"""`-w`: an answer that is shown again and again, until somebody interrupts it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Annotated, TypeVar

import typer

from piko.cli.answers import Output
from piko.errors import RefusedError

T = TypeVar("T")

EVERY_S = 2.0
_CLEAR = "\x1b[2J\x1b[H"
_INTERRUPTED = 130

Watch = Annotated[
    bool, typer.Option("--watch", "-w", help=f"Show it again every {EVERY_S:g} s, until interrupted.")
]


def show_answer(read: Callable[[], T], show: Callable[[T], bool], *, watch: bool, output: Output) -> None:
    """Show what is read, once or with `watch` again and again; a terminal is cleared before each.

    - `show`: says whether something needs a person; exit 1 if so.

    Raises `RefusedError` if documents are to be watched.
    """
    if watch and output.is_document:
        raise RefusedError(f"-o {output} shows one document, and -w many answers; leave one of them out")
    found = read()
    if not watch:
        if show(found):
            raise typer.Exit(1)
        return
    try:
        _show_on(read, show, found)
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None


def _show_on(read: Callable[[], T], show: Callable[[T], bool], found: T) -> None:
    screen, again = sys.stdout.isatty(), False
    while True:
        if screen:
            typer.echo(_CLEAR, nl=False)
        elif again:
            typer.echo()
        show(found)
        time.sleep(EVERY_S)
        found, again = read(), True
