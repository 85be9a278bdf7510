"""A schedule in Piko's words, what could not be translated, and the YAML of it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from piko.errors import ManifestError
from piko.tables import shown
from piko.text import excerpt
from piko_operator.checks import check_schedule
from piko_operator.documents import yaml_text
from piko_operator.manifests import parse_manifest
from piko_operator.resources import API_VERSION, PikoSchedule

_LONGEST_NAME = 50
"""Of a name that is made from a command; the API server takes 253, and people read it in a table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Translated:
    """One schedule: the `spec` of a PikoSchedule without its `jobId`, and what it was.

    `line` counts from 1; `before` is what a person recognises, such as the line of the crontab; `notes` say
    what the resource does not hold.
    """

    line: int
    name: str
    spec: Mapping[str, Any]
    before: str
    metadata: Mapping[str, Any]
    notes: Sequence[str] = ()

    @property
    def resource(self) -> dict[str, Any]:
        """The PikoSchedule, as it is applied."""
        return {
            "apiVersion": API_VERSION,
            "kind": "PikoSchedule",
            "metadata": {"name": self.name, **self.metadata},
            "spec": {"jobId": self.name, **self.spec},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """Something that was not translated, and why; `line` counts from 1."""

    line: int
    what: str
    why: str


def checked(item: Translated, *, zone: str, now: datetime) -> Translated | Left:
    """`item` if the operator would accept it, with its warnings as notes.

    `zone` is the IANA zone of schedules that name none. Piko refuses schedules that others accept and never
    fire, such as 30 February.
    """
    try:
        resource = parse_manifest(item.resource, "as a PikoSchedule")
    except ManifestError as error:
        return Left(line=item.line, what=item.before, why=str(error))
    assert isinstance(resource, PikoSchedule)
    result = check_schedule(resource, zone=zone, now=now)
    if result.problem is not None:
        return Left(line=item.line, what=item.before, why=result.problem)
    return item if result.warning is None else replace(item, notes=(*item.notes, result.warning))


def name_of(words: str, taken: Collection[str]) -> str:
    """A name for a resource and its job, made from `words`, and not among `taken`."""
    base = re.sub(r"[^a-z0-9]+", "-", words.lower())[:_LONGEST_NAME].strip("-") or "job"
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}-{number}"
    return name


def yaml_of(items: Sequence[Translated], source: str) -> Iterator[str]:
    """The resources as YAML documents, each below comments that say what it was; lines without their ends."""
    for number, item in enumerate(items):
        if number:
            yield "---"
        yield f"# {source}, line {item.line}: {excerpt(shown(item.before))}"
        for note in item.notes:
            yield f"# {excerpt(shown(note))}"
        yield yaml_text(item.resource)
