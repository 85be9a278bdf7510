"""`piko run`: run an application that is named as `module:attribute`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from piko.background.garbage import collecting_nothing
from piko.errors import DiscoveryError

if TYPE_CHECKING:
    from piko.app import PikoApp


def run(
    app: Annotated[
        str,
        typer.Argument(metavar="MODULE:ATTRIBUTE", help="The PikoApp; `app` alone means app:app."),
    ] = "app:app",
) -> None:
    """Run a replica of an application, with probes and metrics, until SIGTERM or Ctrl-C."""
    with collecting_nothing():
        found = load_app(app)
    found.run()


def load_app(target: str) -> PikoApp:
    """The app at `target`; the working directory is searched first.

    Raises `DiscoveryError`, which states the part of `target` that is wrong.
    """
    from piko.app import PikoApp

    name, _, attribute = target.partition(":")
    attribute = attribute or "app"
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.split(".")[0] and error.name != name:
            raise _failed(target, name, error) from error
        raise DiscoveryError(
            f"`{target}`: no module {name!r} in {here} or on Python's path; "
            "expected MODULE:ATTRIBUTE, for example app:app for a PikoApp `app` in app.py"
        ) from None
    except (Exception, SystemExit) as error:
        raise _failed(target, name, error) from error
    found = getattr(module, attribute, None)
    if isinstance(found, PikoApp):
        return found
    apps = sorted(key for key, value in vars(module).items() if isinstance(value, PikoApp))
    what = "there is no such name" if found is None else f"it is a {type(found).__name__}"
    raise DiscoveryError(
        f"`{target}`: expected {attribute!r} in {module.__file__} to be a PikoApp, but {what}; "
        + (
            f"the module has {', '.join(f'{name}:{key}' for key in apps)}"
            if apps
            else "the module has no PikoApp"
        )
    )


def _failed(target: str, name: str, error: Exception | SystemExit) -> DiscoveryError:
    return DiscoveryError(
        f"`{target}`: importing {name} failed: {type(error).__name__}: {error}; "
        f"run `python -c 'import {name}'` to reproduce it"
    )
