"""The pages of the documentation: which there are, and what of them the code writes."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MAP = DOCS / "README.md"
_END = "<!-- end generated -->"


def pages() -> list[Path]:
    """Every page under `docs/`."""
    return sorted(DOCS.rglob("*.md"))


def read(page: str) -> str:
    """The text of a page, named by its path under `docs/`."""
    return (DOCS / page).read_text(encoding="utf-8")


def generated(page: str, name: str) -> str:
    """The block of a page that the code writes, without its markers."""
    _, _, rest = read(page).partition(f"<!-- generated: {name} -->\n")
    block, end, _ = rest.partition(_END)
    assert end, f"docs/{page} has no block between `<!-- generated: {name} -->` and `{_END}`"
    return block


def table(text: str) -> dict[str, list[str]]:
    """The rows of the first table in `text`, by their first cell without its backquotes."""
    lines = iter(text.splitlines())
    rows = [line for line in lines if line.startswith("|")]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]
    return {row[0].strip("`"): row[1:] for row in cells}
