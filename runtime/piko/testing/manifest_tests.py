"""Resource files as tests: one for each resource, and one for each file that has problems."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from piko.catalog.configs import ConfigBook
from piko.catalog.jobs import assess
from piko.clock import SystemClock
from piko.core.types import JobStatus
from piko.errors import DiscoveryError, PikoError
from piko.testing.declared_rows import config_of, files_of, placed_in, schedule_of
from piko_operator.resources import Manifest, PikoBackfill, PikoSchedule

if TYPE_CHECKING:
    from piko.app import PikoApp

_ZONE = "UTC"


class ManifestTest(pytest.Item):
    """Passes if the resource can be used, and its job is registered and takes the config."""

    def __init__(self, *, problem: Callable[[], str | None], **values: Any) -> None:
        super().__init__(**values)
        self._problem = problem

    def runtest(self) -> None:
        problem = self._problem()
        if problem is not None:
            pytest.fail(problem, pytrace=False)

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, self.name


def manifest_tests(
    session: pytest.Session, folder: Path, *, app: Callable[[Path], PikoApp]
) -> Iterator[pytest.Item]:
    """A test for each resource in `folder`; `app` finds the app for a file's folder."""
    if not folder.is_dir():
        raise pytest.UsageError(f"--piko-manifests {folder}: there is no such folder")
    files = files_of(folder.resolve())
    if not files:
        raise pytest.UsageError(f"--piko-manifests {folder}: no file there holds a resource of Piko")
    for file in files:
        resources, problems = placed_in(file)
        shown = (
            file.relative_to(session.config.rootpath)
            if file.is_relative_to(session.config.rootpath)
            else file
        )
        if problems:
            yield _test(session, f"{shown}", partial("\n".join, problems))
        for placed in resources:
            resource = placed.resource
            name = f"{shown}::{resource.kind}/{resource.metadata.name}"
            yield _test(session, name, partial(problem_of, resource, app=partial(app, file.parent)))


def problem_of(resource: Manifest, *, app: Callable[[], PikoApp]) -> str | None:
    """What is wrong with `resource` for the code of `app`; None: nothing."""
    now = SystemClock().now()
    try:
        registry = app().registry
    except DiscoveryError as error:
        return f"no app to check against: {error}"
    try:
        if isinstance(resource, PikoSchedule):
            assessed = assess(schedule_of(resource, now=now), registry=registry, timezone=_ZONE)
            unusable = assessed.status in (JobStatus.INVALID, JobStatus.UNREGISTERED)
            return assessed.message if unusable else None
        if isinstance(resource, PikoBackfill):
            known = registry.get(resource.spec.job_id)
            return None if known is not None else f"no job {resource.spec.job_id!r} is registered"
        row = config_of(resource, now=now)
        if registry.get(row.job_id) is None:
            return f"no job {row.job_id!r} is registered"
        book = ConfigBook(registry=registry)
        book.observe([row])
        return book.note(row.job_id)
    except PikoError as error:
        return str(error)


def _test(session: pytest.Session, name: str, problem: Callable[[], str | None]) -> pytest.Item:
    item: pytest.Item = ManifestTest.from_parent(session, name=name, nodeid=name, problem=problem)
    return item
