"""Links of the Markdown files: every page, every heading and every file that one names has to exist.

`python -m tests.docs.links` prints those that lead nowhere, and exits with 1 if there is one; `make lint`
runs it. Addresses on the web are not asked.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from tests.docs.pages import ROOT

_PLACES = ("*.md", "docs/**/*.md", "helm/**/*.md", "examples/**/*.md", "benchmarks/**/*.md", "tests/**/*.md")
_CODE_PLACES = ("runtime", "operator", "crds", "helm", "examples", "benchmarks", "tests")
_CODE_ENDINGS = frozenset({".py", ".yaml", ".yml", ".txt", ".toml", ".json", ".sh", ".tpl"})
_LINK = re.compile(r"(?<!\\)\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_REFERENCE = re.compile(r"^\[[^\]]+\]:\s+<?(\S+?)>?(?:\s|$)", re.MULTILINE)
_HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*\s*$", re.MULTILINE)
_ANCHOR = re.compile(r"<a\s+(?:id|name)=\"([^\"]+)\"")
_FENCE = re.compile(r"^(`{3,}|~{3,}).*?^\1[^\n]*$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)
_PAGE_IN_CODE = re.compile(r"\bdocs/[\w./-]*\.md(?:#[\w-]+)?")


def broken() -> list[str]:
    """A line for each link that leads nowhere."""
    found = [f"{_shown(page)}: {problem}" for page in markdown() for problem in broken_links(page)]
    found += [f"{_shown(path)}: {problem}" for path in _sources() for problem in _broken_names(path)]
    return found


def markdown() -> list[Path]:
    """Every Markdown file that people read."""
    return sorted({path for place in _PLACES for path in ROOT.glob(place)})


def targets(page: Path) -> Iterator[str]:
    """What the links of a page name, outside of code."""
    text = _CODE.sub("``", _FENCE.sub("", page.read_text(encoding="utf-8")))
    yield from _LINK.findall(text)
    yield from _REFERENCE.findall(text)


def broken_links(page: Path) -> Iterator[str]:
    """What is wrong with the links of one page."""
    for target in targets(page):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        problem = _problem(page, target)
        if problem:
            yield f"({target}) {problem}"


def anchors(page: Path) -> set[str]:
    """The places of a page that a link can name, as GitHub makes them of its headings."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    seen: Counter[str] = Counter()
    found = set(_ANCHOR.findall(text))
    for _, heading in _HEADING.findall(text):
        slug = _slug(heading)
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def _slug(heading: str) -> str:
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def _problem(page: Path, target: str) -> str | None:
    path, _, anchor = unquote(target).partition("#")
    file = (page.parent / path).resolve() if path else page
    if not file.is_relative_to(ROOT):
        return "leads out of the repository"
    if not file.exists():
        return "names no file"
    if anchor and file.suffix == ".md" and anchor not in anchors(file):
        return f"names no heading of {_shown(file)}"
    return None


def _sources() -> Iterator[Path]:
    yield from (ROOT / name for name in ("Makefile", "Dockerfile", "pyproject.toml"))
    for place in _CODE_PLACES:
        yield from sorted(path for path in (ROOT / place).rglob("*") if path.suffix in _CODE_ENDINGS)


def _broken_names(path: Path) -> Iterator[str]:
    """Pages that code, messages and charts name, and that are not there."""
    for name in _PAGE_IN_CODE.findall(path.read_text(encoding="utf-8")):
        page, _, anchor = name.partition("#")
        if not (ROOT / page).exists():
            yield f"{name} names no page"
        elif anchor and anchor not in anchors(ROOT / page):
            yield f"{name} names no heading"


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


if __name__ == "__main__":
    problems = broken()
    print("\n".join(problems) or "every link of the documentation leads somewhere")
    sys.exit(bool(problems))
