"""What a document is read into: values that know their lines, and the bounds that all of them keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from piko.text import excerpt

MOST_VALUES = 200_000
"""Values in one text once its aliases are expanded."""
MOST_DEPTH = 64
"""How deep lists and objects may lie in each other."""


_LONGEST = 500


class DocumentError(ValueError):
    """What is wrong, and the line of the text."""

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
        """Where the part at `path` is written, or what of the way to it there is."""
        node, line = self, self.line
        for step in path:
            if step in node.parts:  # a validator's path has steps that the text has not
                line, node = node.parts[step]
        return line

    def put(self, key: Any, line: int, part: Node) -> None:
        """Add `part`, or put it in the place of what had its key."""
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

    def take(self, count: int, line: int) -> None:
        """Raises `DocumentError` where there are too many."""
        self.left -= count
        if self.left < 0:
            raise DocumentError(
                f"more than {MOST_VALUES} values, aliases expanded; write it without aliases of aliases, or "
                "divide the file",
                line=line,
            )


def too_deep(line: int) -> DocumentError:
    """The error of what lies too deep."""
    return DocumentError(f"lists and objects lie more than {MOST_DEPTH} deep in each other", line=line)
