"""Read resource files for the command line: offline, by the operator's rules."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from piko.errors import ManifestError

if TYPE_CHECKING:
    from piko_operator.manifests import Contents, Placed
    from piko_operator.resources import Manifest


def files_in(given: Iterable[Path]) -> Iterator[tuple[Path, Contents]]:
    """Each file with its contents; of a folder, all files at any depth that name Piko's group or kinds."""
    from piko_operator.manifests import SUFFIXES, is_ours, read_manifests

    for path in given:
        if not path.is_dir():
            yield path, contents_of(path)
            continue
        for item in sorted(path.rglob("*")):
            if item.suffix not in SUFFIXES or not (item.is_file() or item.is_symlink()) or item.is_dir():
                continue
            content = _content(item)
            if not isinstance(content, bytes):
                yield item, content
            elif is_ours(content):  # the folder may hold YAML of other programs
                yield item, read_manifests(content, str(item))


def contents_of(file: Path) -> Contents:
    """The contents of `file`; `-` is standard input."""
    from piko_operator.manifests import LARGEST_FILE, read_manifests

    if str(file) == "-":
        return read_manifests(sys.stdin.buffer.read(LARGEST_FILE + 1), "standard input")
    content = _content(file)
    return read_manifests(content, str(file)) if isinstance(content, bytes) else content


def valid_in(given: Iterable[Path]) -> list[Placed]:
    """The resources of files and folders. Raises `ManifestError` with every problem."""
    contents = [content for _, content in files_in(given)]
    if problems := [str(problem) for content in contents for problem in content.problems]:
        raise ManifestError("\n".join(problems))
    return [placed for content in contents for placed in content.resources]


def read_manifests(file: Path) -> list[Manifest]:
    """The resources of `file`. Raises `ManifestError` with every problem."""
    contents = contents_of(file)
    if contents.problems:
        raise ManifestError("\n".join(map(str, contents.problems)))
    return [placed.resource for placed in contents.resources]


def _content(file: Path) -> bytes | Contents:
    from piko_operator.manifests import Contents, Problem, read_bytes

    try:
        return read_bytes(file)
    except OSError as error:
        why = f"cannot be read: {error.strerror or error}"
        return Contents(problems=[Problem(source=str(file), line=None, message=why)])
