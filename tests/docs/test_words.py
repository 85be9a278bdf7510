"""The pages use the words that a native engineer uses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, pages

_AVOIDED = re.compile(
    r"\b(whoever|whomever|anew|for good|gone|told|what becomes of|in earnest|the title to|elsewhere"
    r"|makes? up for|goes? by|for the sake of)\b",
    re.IGNORECASE,
)
_PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *pages()]


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_is_in_plain_english(page: Path) -> None:
    text = re.sub(r"<!-- generated: .*?<!-- end generated -->", "", page.read_text("utf-8"), flags=re.DOTALL)
    assert [
        f"{found[0]}: …{text[found.start() - 30 : found.end() + 30]}…" for found in _AVOIDED.finditer(text)
    ] == []
