"""The nodes of a document: values with their lines, and the limits on their number and depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from piko.text import excerpt

MOST_VALUES = 200_000
"""Values in one text once its aliases are expanded."""
MOST_DEPTH = 64
"""The deepest nesting of lists and objects."""


_LONGEST = 500


class DocumentError(ValueError):
    """An error in a document, with its line."""

    def __init__(self, message: str, *, line: int) -> None:
        super().__init__(excerpt(message, limit=_LONGEST))
        self.line = line


@dataclass(slots=True, kw_only=True)
class Node:
    """A value and the lines of its parts; a key's line is that of its value."""

    value: Any
    line: int
    parts: dict[Any, tuple[int, Node]] = field(default_factory=dict)
    size: int = 1
    depth: int = 0

    def line_of(self, path: Sequence[Any]) -> int:
        """The line of the part at `path`, or of its nearest existing parent."""
        node, line = self, self.line
        for step in path:
            if step in node.parts:  # a validator's path has steps that the text lacks
                line, node = node.parts[step]
        return line

    def put(self, key: Any, line: int, part: Node) -> None:
        """Add `part`, or replace the part with the same key."""
        replaced = self.parts.get(key)
        self.parts[key] = (line, part)
        self.size += part.size - (replaced[1].size if replaced else 0)
        self.depth = max(self.depth, part.depth + 1)
        if isinstance(self.value, dict):
            self.value[key] = part.value
        else:
            self.value.append(part.value)


@dataclass(slots=True)
class Budget:
    """How many values a text may still have."""

    left: int = MOST_VALUES

    def spend(self, count: int, line: int) -> None:
        """Count values. Raises `DocumentError` if there are too many."""
        self.left -= count
        if self.left < 0:
            raise DocumentError(
                f"more than {MOST_VALUES} values, aliases expanded; avoid aliases of aliases, or split "
                "the file",
                line=line,
            )


def too_deep(line: int) -> DocumentError:
    """The error for too deep nesting."""
    return DocumentError(f"lists and objects are nested more than {MOST_DEPTH} levels deep", line=line)
