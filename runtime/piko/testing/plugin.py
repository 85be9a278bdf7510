"""Fixtures and an option for pytest; nothing is imported until a test uses it.

- `piko_app`: the app of the folder in which the test stands, or of the nearest folder above it that has one.
  A project whose app is in another folder overrides this fixture in its `conftest.py`.
- `piko_run_job(job_id, …)`: `run_job` with that app.
- `piko_timeline(manifests, start=…)`: a `Timeline` with that app; without `manifests`, of the folder's files.
- `--piko-manifests DIR`: each resource in the files of a folder becomes a test.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from piko.app import PikoApp
    from piko.testing.inline_run import FinishedRun
    from piko.testing.timeline import Timeline

_START = "2026-01-01T00:00Z"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("piko")
    group.addoption(
        "--piko-manifests",
        metavar="DIR",
        action="append",
        default=[],
        help="Make each resource in the files of a folder a test; may be repeated.",
    )


def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    folders = config.getoption("--piko-manifests")
    if not folders:
        return
    from piko.testing.manifest_tests import manifest_tests

    for folder in folders:
        items.extend(manifest_tests(session, Path(folder), app=partial(app_above, root=config.rootpath)))


@pytest.fixture
def piko_app(request: pytest.FixtureRequest) -> PikoApp:
    """The app of the nearest folder that declares one."""
    return app_above(request.path.parent, root=request.config.rootpath)


@pytest.fixture
def piko_run_job(piko_app: PikoApp) -> Callable[..., FinishedRun]:
    """`run_job` of `piko.testing` with the app of this folder."""
    from piko.testing.inline_run import run_job

    return partial(run_job, piko_app)


@pytest.fixture
def piko_timeline(piko_app: PikoApp, request: pytest.FixtureRequest) -> Callable[..., Timeline]:
    """`Timeline` of `piko.testing` with the app of this folder, and with its resource files by default."""
    from piko.testing.declared_rows import files_of
    from piko.testing.timeline import Timeline

    def timeline(manifests: Any = None, *, start: Any = _START, **options: Any) -> Timeline:
        of_folder = files_of(request.path.parent) if manifests is None else manifests
        return Timeline(piko_app, of_folder, start=start, **options)

    return timeline


def app_above(folder: Path, *, root: Path) -> PikoApp:
    """The app of `folder`, or of the nearest folder above it, up to `root`. Raises `DiscoveryError`.

    A module that is imported already is not imported again: a test's `from app import …` is the same app.
    """
    from piko.app import PikoApp
    from piko.dev.application import load_app, module_path
    from piko.errors import DiscoveryError

    places = [folder, *(parent for parent in folder.parents if parent.is_relative_to(root))]
    first: DiscoveryError | None = None
    for place in places:
        try:
            path = module_path(place)
        except DiscoveryError as error:
            first = first or error
            continue
        known = sys.modules.get(path.stem)
        if known is None or getattr(known, "__file__", None) != str(path):
            return load_app(place)
        for value in vars(known).values():
            if isinstance(value, PikoApp):
                return value
    raise first or DiscoveryError(f"{folder}: no PikoApp found")
