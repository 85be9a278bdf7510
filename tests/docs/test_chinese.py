"""The README and the tutorial in Chinese have the structure, the code and the links of the English ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.links import targets
from tests.docs.pages import DOCS, ROOT

_CHINESE, _TUTORIAL = DOCS / "zh", DOCS / "tutorial"
_PAIRS = [
    (ROOT / "README.md", ROOT / "README.zh.md"),
    *((page, _CHINESE / page.name) for page in sorted(_TUTORIAL.glob("*.md"))),
]
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r" +# .*$", re.MULTILINE)
_SWITCH = re.compile(r"^.*English.* \| .*中文.*\n\n", re.MULTILINE)
_MARK = re.compile(r"^(#+ |- |\d+\. |\| |!\[|```)?.", re.MULTILINE)
_HAN = re.compile(r"[\u4e00-\u9fff]")

pairs = pytest.mark.parametrize(("english", "chinese"), _PAIRS, ids=[page.name for page, _ in _PAIRS])


@pairs
def test_the_code_is_the_same_but_for_comments(english: Path, chinese: Path) -> None:
    assert _code(chinese) == _code(english)


@pairs
def test_headings_lists_tables_and_pictures_are_the_same(english: Path, chinese: Path) -> None:
    assert _shape(chinese) == _shape(english)


@pairs
def test_links_lead_to_the_same_pages(english: Path, chinese: Path) -> None:
    assert _links(chinese, twin=english) == _links(english, twin=chinese)


@pairs
def test_each_is_written_in_its_language(english: Path, chinese: Path) -> None:
    assert len(_HAN.findall(_prose(chinese))) > len(re.findall(r"\b[a-z]{2,}\b", _prose(chinese)))
    assert not _HAN.search(_prose(english))


def _code(page: Path) -> list[str]:
    return [_COMMENT.sub("", block) for block in _FENCE.findall(page.read_text(encoding="utf-8"))]


def _prose(page: Path) -> str:
    """The page without its code and without the line that leads to its twin."""
    return _SWITCH.sub("", _FENCE.sub("```", page.read_text(encoding="utf-8")))


def _shape(page: Path) -> list[str]:
    """How each line of the prose begins, without its words."""
    return [mark.strip() or "words" for mark in _MARK.findall(_prose(page))]


def _links(page: Path, *, twin: Path) -> list[Path]:
    """The files that a page links to, but for its twin; a Chinese page counts as the English one."""
    paths = (target.partition("#")[0] for target in targets(page) if "://" not in target)
    files = ((page.parent / path).resolve() for path in paths if path)
    return [_TUTORIAL / file.name if file.parent == _CHINESE else file for file in files if file != twin]
