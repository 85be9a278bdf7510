"""The pages of the documentation: which there are, and their text."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MAP = DOCS / "README.md"


def pages() -> list[Path]:
    """Every page under `docs/`."""
    return sorted(DOCS.rglob("*.md"))


def read(page: str) -> str:
    """The text of a page, named by its path under `docs/`."""
    return (DOCS / page).read_text(encoding="utf-8")
