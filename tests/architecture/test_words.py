"""Code, comments, messages, help and charts use the words that a native engineer uses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = (
    *("runtime", "operator", "crds", "helm", "examples", "benchmarks", "docs", ".ci", ".github"),
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "Makefile", "pyproject.toml"),
)
"""Folders, and files that stand alone."""
SUFFIXES = frozenset({".py", ".yaml", ".yml", ".tpl", ".txt", ".json", ".toml", ".md", ".html"})

# A part of a name counts as a word: `_told_at` and `find_gone` are found, `fourtold` is not.
AVOIDED = re.compile(
    r"(?<![A-Za-z])"
    r"(whoever|whomever|anew|for good|gone|told|tells|tell(?=[(=:])|what (?:becomes|became) of|in earnest"
    r"|the title to|elsewhere|at hand|for the sake of|makes? up for|goes? by|counts? for nothing"
    r"|without a word)"
    r"(?![A-Za-z])",
    re.IGNORECASE,
)

ALLOWED = {
    "row_gone_at": "a column of job_state",
    "gone away": "MySQL's own words for error 2006",
}
"""Texts in which such a word is right, each with its reason."""

NOT_PROSE = {
    "examples/words/book.txt": "the text whose words an example counts",
}


def _files(room: str) -> Iterator[Path]:
    if (ROOT / room).is_file():
        yield ROOT / room
    for path in sorted((ROOT / room).rglob("*")):
        if path.suffix in SUFFIXES and path.is_file() and "__pycache__" not in path.parts:
            yield path


def avoided_words(text: str) -> Iterator[tuple[int, str]]:
    """Line and word of each word that is avoided in `text`, unless it is within an allowed text."""
    for number, line in enumerate(text.splitlines(), 1):
        for allowed in ALLOWED:
            line = line.replace(allowed, "")
        for found in AVOIDED.finditer(line):
            yield number, found[0]


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_in_plain_english(room: str) -> None:
    assert [
        f"{path.relative_to(ROOT)}:{number}: {word}"
        for path in _files(room)
        if str(path.relative_to(ROOT)) not in NOT_PROSE
        for number, word in avoided_words(path.read_text(encoding="utf-8"))
    ] == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("whoever reads this", ["whoever"]),
        ("self._told_at = now", ["told"]),
        ("def find_gone(self):", ["gone"]),
        ("it is deleted\nfor good", ["for good"]),
        ("the MySQL server has gone away", []),
        ("job_state.row_gone_at", []),
        ("good for them, a bygone title", []),
    ],
)
def test_a_word_is_found_in_prose_and_in_names(text: str, words: list[str]) -> None:
    assert [word for _, word in avoided_words(text)] == words


def test_what_is_allowed_occurs() -> None:
    texts = [path.read_text(encoding="utf-8") for room in ROOMS for path in _files(room)]
    assert [allowed for allowed in ALLOWED if not any(allowed in text for text in texts)] == []
    assert [path for path in NOT_PROSE if not (ROOT / path).is_file()] == []
