"""The schema that this release knows: revisions, whose modules are named after them."""

from __future__ import annotations

from importlib import resources


def head() -> str:
    """The last revision that this release knows."""
    return revisions()[-1]


def revisions() -> list[str]:
    """The revisions that this release knows, in order: their modules are named after them."""
    folder = resources.files("piko.store.schema") / "migrations" / "versions"
    names = (item.name for item in folder.iterdir() if item.name.startswith("r"))
    numbers = [name.removeprefix("r").split("_", 4)[:4] for name in names]
    numbers.sort(key=lambda parts: [int(part) for part in parts])
    return [f"{major}.{minor}.{patch}_{number}" for major, minor, patch, number in numbers]


def release_of(revision: str | None) -> str:
    """The release that brings `revision`."""
    return (revision or "").partition("_")[0]
