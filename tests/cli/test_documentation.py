"""`docs/reference/command-line.md` says what the program says."""

from __future__ import annotations

from tests.cli.reference import reference, written


def test_the_page_and_the_program_agree() -> None:
    assert written() == reference(), "regenerate it: python -m tests.cli.reference"
