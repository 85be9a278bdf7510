"""The resource files of a folder, read again whenever they have changed.

A file is taken once two looks in a row found the same: an editor that empties a file before it writes it must
not remove a schedule for a moment. A file that cannot be used keeps what it said last; the others are taken
all the same. So does a file that held resources and now holds none: it is broken until it is deleted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from piko.errors import DiscoveryError
from piko_operator.manifests import SUFFIXES, is_ours, read_bytes, read_manifests
from piko_operator.resources import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A resource and the file that it stands in."""

    file: str
    resource: Manifest

    @property
    def kind(self) -> str:
        return self.resource.kind

    @property
    def job_id(self) -> str:
        return self.resource.spec.job_id

    @property
    def where(self) -> str:
        return f"{self.kind} {self.resource.metadata.name} in {self.file}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the folder says: resources, and what is wrong with it, a message each.

    `unknown` are files that could not be used since the start: what they hold cannot be said. `silent` are
    YAML files that hold no resource; rows that came from one stay until it is deleted.
    """

    declared: Sequence[Declared]
    problems: Sequence[str]
    unknown: frozenset[str]
    silent: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """The files of the folder: contents that speak of resources, files that do not, what cannot be read."""

    contents: Mapping[str, bytes]
    silent: frozenset[str]
    unread: Mapping[str, str]

    @property
    def names(self) -> frozenset[str]:
        return self.silent.union(self.contents, self.unread)


class ResourceFiles:
    """Looks into the `*.yaml`, `*.yml` and `*.json` of `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: _Found | None = None
        self._taken: _Found | None = None
        self._good: dict[str, list[Declared]] = {}

    def first(self) -> Reading:
        """What the folder says at the start. Raises `DiscoveryError` where it has no resource file."""
        found = self._read()
        if not found.contents and not found.unread:
            others = ", ".join(sorted(found.silent)) or "no YAML at all"
            raise DiscoveryError(
                f"{self._folder}: no resource file found (looked into: {others}); expected a *.yaml with "
                "`apiVersion: piko.dev/v1` and `kind: PikoSchedule`, so that there is something to run"
            )
        self._seen = found
        return self._take(found)

    def look(self) -> Reading | None:
        """What the folder says now, if that is something new and holds still."""
        before, self._seen = self._seen, self._read()
        if self._seen != before or self._seen == self._taken:
            return None
        return self._take(self._seen)

    def _take(self, found: _Found) -> Reading:
        self._taken = found
        problems = [f"{self._folder / file}: cannot be read: {why}" for file, why in found.unread.items()]
        for file in self._good.keys() - found.contents.keys() - found.unread.keys():
            del self._good[file]
        for file, content in sorted(found.contents.items()):
            said = read_manifests(content, str(self._folder / file))
            problems.extend(map(str, said.problems))
            if not said.problems:
                self._good[file] = [Declared(file=file, resource=item.resource) for item in said.resources]
        declared, doubles = _without_doubles(
            [item for file in sorted(self._good) for item in self._good[file]]
        )
        return Reading(
            declared=declared,
            problems=[*problems, *doubles],
            unknown=frozenset({*found.contents, *found.unread} - self._good.keys()),
            silent=found.silent.union(file for file, resources in self._good.items() if not resources),
        )

    def _read(self) -> _Found:
        contents, silent, unread = {}, set(), {}
        try:
            paths = self._paths()
        except OSError as error:  # nothing can be said of any file; each keeps what it said
            names = self._seen.names if self._seen else frozenset([""])
            why = f"the folder cannot be read: {error.strerror or error}"
            return _Found(contents={}, silent=frozenset(), unread=dict.fromkeys(sorted(names), why))
        for path in paths:
            try:
                content = read_bytes(path)
            except FileNotFoundError:  # it is being replaced just now: the next look tells
                continue
            except OSError as error:
                unread[path.name] = error.strerror or str(error)
                continue
            if is_ours(content):
                contents[path.name] = content
            else:
                silent.add(path.name)
        return _Found(contents=contents, silent=frozenset(silent), unread=unread)

    def _paths(self) -> list[Path]:
        return [
            path
            for path in self._folder.iterdir()
            if path.suffix in SUFFIXES and (path.is_file() or (path.is_symlink() and not path.is_dir()))
        ]


def _without_doubles(declared: Sequence[Declared]) -> tuple[list[Declared], list[str]]:
    """One resource per kind and job; of several the first counts."""
    kept: dict[tuple[str, str], Declared] = {}
    problems = []
    for item in declared:
        first = kept.setdefault((item.kind, item.job_id), item)
        if first is not item:
            problems.append(
                f"{item.where}: job {item.job_id!r} belongs to {first.where} already, which keeps it; "
                "remove one of the two, or give one another jobId"
            )
    return list(kept.values()), problems
