"""Tables for people: readable at any width, and names are never cut.

A table that fits is printed in columns. If it does not fit, descriptive texts are shortened first; then a
name that is too long for its column gets a line of its own, with the rest of its row below it. In a pipe
nothing is shortened: the next program may search for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from piko.text import span

_GAP = 2
_READABLE = 16
_LEAST = 8
"""Descriptive texts are not shortened below `_LEAST`, and to `_READABLE` before names leave their column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of a table, with the name first; `notes` follow, indented."""

    cells: Sequence[object]
    notes: Sequence[str] = ()


def table_lines(
    columns: Sequence[str], rows: Sequence[Row], *, shorten: Sequence[str], width: int | None
) -> Iterator[str]:
    """The lines of a table that is `width` terminal cells wide; None is unlimited."""
    cells = [[shown(cell) for cell in row.cells] for row in rows]
    used = [number for number in range(len(columns)) if not number or any(row[number] for row in cells)]
    widths = {number: max(map(_cells, [columns[number], *(row[number] for row in cells)])) for number in used}
    names = [columns[0], *(row[0] for row in cells)]
    _fit(widths, names, [number for number in used if columns[number] in shorten], width)
    yield from _line([columns[number] for number in used], widths, used)
    for row, texts in zip(rows, cells, strict=True):
        yield from _line([texts[number] for number in used], widths, used)
        for note in row.notes:
            yield from _note(shown(note), width)


def ago(moment: datetime | None, now: datetime) -> str:
    """The distance of `moment` from `now`: `3m ago`, `in 12s`."""
    if moment is None:
        return ""
    seconds = (now - moment).total_seconds()
    return f"{span(seconds)} ago" if seconds >= 0 else f"in {span(-seconds)}"


def shown(value: object, *, indented: bool = False) -> str:
    """`value` on one line, without control characters; `indented` keeps its leading spaces."""
    text = "" if value is None else str(value)
    line = "".join(sign if sign.isprintable() else " " for sign in text).rstrip()
    return line if indented else line.lstrip()


def _fit(widths: dict[int, int], names: Sequence[str], shorten: Sequence[int], width: int | None) -> None:
    if width is None or _total(widths) <= width:
        return
    wished = {number: min(size, _READABLE) if number in shorten else size for number, size in widths.items()}
    available = width - (_total(wished) - wished[0])
    widths[0] = max((_cells(name) for name in names if _cells(name) <= available), default=0)
    for number in sorted(shorten, key=lambda number: -widths[number]):
        excess = max(_total(widths) - width, 0)
        widths[number] = max(min(widths[number], _LEAST), widths[number] - excess)


def _total(widths: dict[int, int]) -> int:
    return sum(widths.values()) + _GAP * (len(widths) - 1)


def _line(texts: Sequence[str], widths: dict[int, int], used: Sequence[int]) -> Iterator[str]:
    name, *rest = texts
    if _cells(name) > widths[used[0]]:
        yield name
        name = ""
    fitted = [
        _padded(_short(text, widths[number]), widths[number])
        for text, number in zip([name, *rest], used, strict=True)
    ]
    yield (" " * _GAP).join(fitted).rstrip()


def _note(text: str, width: int | None) -> Iterator[str]:
    """A note, wrapped but never shortened: it may end with the remedy."""
    from textwrap import wrap

    if width is None:
        yield f"  {text}"
    else:
        indent = "  "
        yield from wrap(
            text,
            max(width, 20),
            initial_indent=indent,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _cells(text))


def _short(text: str, width: int | None) -> str:
    if width is None or _cells(text) <= width:
        return text
    from rich.cells import set_cell_size

    return f"{set_cell_size(text, max(width - 1, 0)).rstrip()}…"


def _cells(text: str) -> int:
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)
