"""The documentation is one map: every page has a kind, and a reader comes to each from `docs/README.md`."""

from __future__ import annotations

from pathlib import Path

from tests.docs.links import targets
from tests.docs.pages import DOCS, MAP, pages

KINDS = frozenset({"tutorial", "zh", "how-to", "reference", "explanation", "decisions"})
ALONE = frozenset({"README.md", "architecture.md", "glossary.md"})


def test_every_page_is_of_one_kind() -> None:
    parts = {page: page.relative_to(DOCS).parts for page in pages()}
    assert [page for page, path in parts.items() if not _has_kind(path)] == []


def test_every_kind_has_an_index_that_names_its_pages() -> None:
    unnamed = []
    for kind in KINDS:
        index = DOCS / kind / "README.md"
        named = {index, *_linked(index)}
        unnamed += [page for page in (DOCS / kind).glob("*.md") if page not in named]
    assert unnamed == []


def test_every_page_is_reached_from_the_map() -> None:
    reached, waiting = set(), [MAP]
    while waiting:
        page = waiting.pop()
        if page not in reached:
            reached.add(page)
            waiting += [path for path in _linked(page) if path.is_relative_to(DOCS)]
    assert set(pages()) - reached == set()


def _has_kind(path: tuple[str, ...]) -> bool:
    return path[0] in ALONE if len(path) == 1 else len(path) == 2 and path[0] in KINDS


def _linked(page: Path) -> list[Path]:
    paths = (target.partition("#")[0] for target in targets(page) if "://" not in target)
    files = ((page.parent / path).resolve() for path in paths if path)
    return [file for file in files if file.suffix == ".md" and file.exists()]
