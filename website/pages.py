"""What the site shows, and where: the sources that Sphinx reads, made of the pages of the repository.

The order is that of the map: a section for each kind of page, with the pages as its index names them. The
README is the first page. What a page names outside of `docs/` is a page of the site, too, so a link leads to
the same place here as in the repository. One that leads nowhere stays as it is, and ends the build.
"""

from __future__ import annotations

import re
import shutil
from os.path import relpath
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
EXAMPLES = ROOT / "examples"
KINDS = ("tutorial", "how-to", "reference", "explanation", "decisions", "zh")

# Pages that the site has at another place than the repository.
_PLACES = {
    ROOT / "README.md": "index.md",
    ROOT / "README.zh.md": "zh/about.md",
    DOCS / "README.md": "map.md",
    ROOT / "CHANGELOG.md": "changelog.md",
    ROOT / "CONTRIBUTING.md": "contributing.md",
    ROOT / "SECURITY.md": "security.md",
    ROOT / "LICENSE": "licence.md",
}
_SECTIONS = {
    "English": (
        "map",
        "tutorial/index",
        "how-to/index",
        "reference/index",
        "explanation/index",
        "examples/index",
    ),
    "中文": ("zh/about", "zh/index"),
    "Project": (
        *("architecture", "glossary", "decisions/index", "contributing", "changelog", "security", "licence"),
    ),
}
_SHOWN = {".py": "python", ".yaml": "yaml"}
_CODE = re.compile(r"^(`{3,}|~{3,}).*?^\1[^\n]*$|(`+)(?!`).*?(?<!`)\2(?!`)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<=\]\()([^)\s]+)(?=\))")
_WEB = re.compile(r"[a-z][a-z0-9+.-]*:")


def write(folder: Path) -> None:
    """Write the sources of the site into `folder`, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(DOCS / "images", folder / "images")
    shutil.copyfile(DOCS / "openapi.json", folder / "openapi.json")
    for path, place in {**_PLACES, **{path: _place(path) for path in DOCS.rglob("*.md")}}.items():
        _write(folder / place, _page(path, place))
    for examples in (EXAMPLES, *_examples()):
        _write(folder / _place(examples), _listing(examples))


def _page(path: Path, place: str) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".md":
        return f"# Licence\n\n```text\n{text}```\n"
    return _linked(text, path, place) + _contents(place)


def _contents(place: str) -> str:
    """The pages below an index, for the navigation."""
    folder = place.removesuffix("/index.md")
    if place == "index.md":
        return "".join(_toctree(pages, caption=caption) for caption, pages in _SECTIONS.items())
    if folder in KINDS:
        return _toctree(_named_by(DOCS / folder / "README.md"))
    return ""


def _named_by(index: Path) -> list[str]:
    """The other pages of its folder that an index names, in its order."""
    named = (target.partition("#")[0] for target in _LINK.findall(index.read_text(encoding="utf-8")))
    pages = [name.removesuffix(".md") for name in named if "/" not in name and name.endswith(".md")]
    return list(dict.fromkeys(page for page in pages if page != "README"))


def _toctree(pages: list[str] | tuple[str, ...], *, caption: str = "") -> str:
    lines = [
        "",
        "```{toctree}",
        ":hidden:",
        *([f":caption: {caption}"] if caption else []),
        "",
        *pages,
        "```",
        "",
    ]
    return "\n".join(lines)


def _linked(text: str, path: Path, place: str) -> str:
    """The text with each link outside of code at its place on the site."""
    parts, end = [], 0
    for code in _CODE.finditer(text):
        parts += [_moved(text[end : code.start()], path, place), code[0]]
        end = code.end()
    return "".join([*parts, _moved(text[end:], path, place)])


def _moved(prose: str, path: Path, place: str) -> str:
    def moved(link: re.Match[str]) -> str:
        target, mark, anchor = link[0].partition("#")
        if not target or _WEB.match(target):
            return link[0]
        found = (path.parent / unquote(target)).resolve()
        return relpath(_place(found), Path(place).parent) + mark + anchor

    return _LINK.sub(moved, prose)


def _place(path: Path) -> str:
    if path in _PLACES:
        return _PLACES[path]
    if path == DOCS:
        return _PLACES[DOCS / "README.md"]
    if path.is_relative_to(EXAMPLES):
        return f"{path.relative_to(ROOT)}/index.md"
    return relpath(path, DOCS).replace("README.md", "index.md")


def _examples() -> list[Path]:
    return sorted(path for path in EXAMPLES.iterdir() if path.is_dir() and path.name != "__pycache__")


def _listing(folder: Path) -> str:
    """A page with the files of a folder, or with its folders."""
    if folder == EXAMPLES:
        names = [inner.name for inner in _examples()]
        listed = "\n".join(f"- [{name}]({name}/index.md)" for name in names)
        return f"# Examples\n\n{listed}\n" + _toctree([f"{name}/index" for name in names])
    files = [file for file in sorted(folder.iterdir()) if file.suffix in _SHOWN]
    shown = (f"## {file.name}\n\n````{_SHOWN[file.suffix]}\n{_read(file)}````\n" for file in files)
    return "\n".join([f"# {folder.name}\n", *shown])


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8").rstrip() + "\n"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
