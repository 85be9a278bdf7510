"""The resource files of a folder, read again whenever they have changed.

A file is applied once two successive looks have found the same content, because an editor that empties a file
before it writes it must not remove a schedule for a moment. A file that cannot be used keeps its last usable
content, and the other files are still applied. The same holds for a file that held resources and now holds
none: it counts as broken until it is deleted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from piko.errors import DiscoveryError
from piko_operator.manifests import SUFFIXES, is_ours, read_bytes, read_manifests
from piko_operator.resources import Mirrored, PikoBackfill

_NO_BACKFILLS = (
    "needs the operator of a cluster, and has no effect here; run instead: "
    "piko backfill JOB --from INSTANT --to INSTANT"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A resource and its file."""

    file: str
    resource: Mirrored

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
    """The contents of the folder: resources, and a message for each problem.

    `unknown` are files that have been unusable since the start, so that their resources are not known.
    `silent` are YAML files without a resource; rows that came from such a file stay until it is deleted.
    """

    declared: Sequence[Declared]
    problems: Sequence[str]
    unknown: frozenset[str]
    silent: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """The files of the folder: contents with resources, files without, and errors of unreadable files."""

    contents: Mapping[str, bytes]
    silent: frozenset[str]
    unread: Mapping[str, str]

    @property
    def names(self) -> frozenset[str]:
        return self.silent.union(self.contents, self.unread)


class ResourceFiles:
    """Reads the `*.yaml`, `*.yml` and `*.json` files of `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: _Found | None = None
        self._applied: _Found | None = None
        self._usable: dict[str, list[Declared]] = {}

    def first(self) -> Reading:
        """The contents of the folder at the start. Raises `DiscoveryError` if it has no resource file."""
        found = self._read()
        if not found.contents and not found.unread:
            others = ", ".join(sorted(found.silent)) or "no YAML file"
            raise DiscoveryError(
                f"{self._folder}: no resource file found (searched: {others}); expected a *.yaml with "
                "`apiVersion: piko.dev/v1` and `kind: PikoSchedule`, so that there is something to run"
            )
        self._seen = found
        return self._apply(found)

    def look(self) -> Reading | None:
        """The contents of the folder, if they have changed and are stable; otherwise None."""
        before, self._seen = self._seen, self._read()
        if self._seen != before or self._seen == self._applied:
            return None
        return self._apply(self._seen)

    def _apply(self, found: _Found) -> Reading:
        self._applied = found
        problems = [f"{self._folder / file}: cannot be read: {why}" for file, why in found.unread.items()]
        for file in self._usable.keys() - found.contents.keys() - found.unread.keys():
            del self._usable[file]
        for file, content in sorted(found.contents.items()):
            manifests = read_manifests(content, str(self._folder / file))
            problems.extend(map(str, manifests.problems))
            if not manifests.problems:
                self._usable[file] = [
                    Declared(file=file, resource=item.resource)
                    for item in manifests.resources
                    if not isinstance(item.resource, PikoBackfill)
                ]
                problems.extend(
                    str(item.problem(_NO_BACKFILLS))
                    for item in manifests.resources
                    if isinstance(item.resource, PikoBackfill)
                )
        declared, duplicates = _without_duplicates(
            [item for file in sorted(self._usable) for item in self._usable[file]]
        )
        return Reading(
            declared=declared,
            problems=[*problems, *duplicates],
            unknown=frozenset({*found.contents, *found.unread} - self._usable.keys()),
            silent=found.silent.union(file for file, resources in self._usable.items() if not resources),
        )

    def _read(self) -> _Found:
        contents, silent, unread = {}, set(), {}
        try:
            paths = self._paths()
        except OSError as error:  # every file keeps its last content
            names = self._seen.names if self._seen else frozenset([""])
            why = f"the folder cannot be read: {error.strerror or error}"
            return _Found(contents={}, silent=frozenset(), unread=dict.fromkeys(sorted(names), why))
        for path in paths:
            try:
                content = read_bytes(path)
            except FileNotFoundError:  # it is being replaced; the next look reads it
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


def _without_duplicates(declared: Sequence[Declared]) -> tuple[list[Declared], list[str]]:
    """One resource per kind and job; of several, the first is kept."""
    first_by_job: dict[tuple[str, str], Declared] = {}
    problems = []
    for item in declared:
        first = first_by_job.setdefault((item.kind, item.job_id), item)
        if first is not item:
            problems.append(
                f"{item.where}: job {item.job_id!r} already belongs to {first.where}, which stays in force; "
                "remove one of the two, or give one another jobId"
            )
    return list(first_by_job.values()), problems
