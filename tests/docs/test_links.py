"""Links of the documentation lead somewhere, and one that does not is seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs import links
from tests.docs.links import anchors, broken, broken_links


def test_every_link_leads_somewhere() -> None:
    assert broken() == []


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(links, "ROOT", tmp_path)
    (tmp_path / "other.md").write_text("# A title\n\n## Who's `there`?\n\n## Twice\n\n## Twice\n")
    return tmp_path / "page.md"


@pytest.mark.parametrize(
    "text",
    [
        "[a](missing.md)",
        "[a](other.md#nowhere)",
        "[a](#nowhere)",
        "[a](../../outside.md)",
        "[`a` [b]](missing.md)",
        "[a]: missing.md",
        "![a picture](missing.png)",
    ],
)
def test_a_link_that_leads_nowhere_is_seen(page: Path, text: str) -> None:
    page.write_text(f"# Here\n\n{text}\n")
    assert len(list(broken_links(page))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "[a](other.md)",
        "[a](other.md#whos-there)",
        "[a](other.md#twice-1)",
        "[a](#here)",
        "[a](https://example.com/missing.md)",
        "`[a](missing.md)` is code",
        "```\n[a](missing.md)\n```",
    ],
)
def test_a_link_that_leads_somewhere_is_left_alone(page: Path, text: str) -> None:
    page.write_text(f"# Here\n\n{text}\n")
    assert list(broken_links(page)) == []


def test_a_heading_inside_of_code_is_no_anchor(page: Path) -> None:
    page.write_text("# Here\n\n```\n# comment\n```\n")
    assert anchors(page) == {"here"}
