"""A new project: the files of `project/`, with its name filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from string import Template
from types import MappingProxyType

from piko.errors import RefusedError

FILES: Mapping[str, str] = MappingProxyType(
    {
        "app.py": "app.py.txt",
        "schedules.yaml": "schedules.yaml.txt",
        "test_app.py": "test_app.py.txt",
        "Dockerfile": "Dockerfile.txt",
        "values.yaml": "values.yaml.txt",
        ".gitignore": "gitignore.txt",
    }
)
"""Each file of a project, and its template."""


def make_project(folder: Path) -> list[Path]:
    """Write the files of a new project into `folder`, which is made if needed; the paths that were written.

    Raises `RefusedError` if one of the files exists, and then writes nothing.
    """
    name = re.sub(r"[^a-z0-9]+", "-", folder.absolute().name.lower()).strip("-") or "jobs"
    texts = {folder / target: _text(template, name) for target, template in FILES.items()}
    taken = [path.name for path in texts if path.exists()]
    if taken:
        raise RefusedError(
            f"{folder} has {', '.join(taken)} already, and nothing was written; name a new folder"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RefusedError(f"{error.filename or folder}: cannot be written: {error.strerror}") from None
    return list(texts)


def _text(template: str, name: str) -> str:
    text = files("piko.dev").joinpath("project", template).read_text(encoding="utf-8")
    return Template(text).substitute(name=name, image=name, version=version("piko"))
