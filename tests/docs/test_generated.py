"""What the pages say of tables, settings, metrics and commands is what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest
from docs.generate import BLOCKS, DOCS, written

_WRITTEN = list(written())


@pytest.mark.parametrize(
    ("page", "name", "text"), _WRITTEN, ids=[f"{page.relative_to(DOCS)}:{name}" for page, name, _ in _WRITTEN]
)
def test_a_generated_part_says_what_the_code_says(page: Path, name: str, text: str) -> None:
    assert text == BLOCKS[name](), f"{page} is out of date: run `make generate`"


def test_each_generated_part_stands_on_one_page() -> None:
    assert sorted(name for _, name, _ in _WRITTEN) == sorted(BLOCKS)
