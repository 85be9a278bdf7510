"""Imports the modules that declare an application's jobs."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from pathlib import Path
from types import ModuleType

from piko.errors import DiscoveryError

__all__ = ["autodiscover"]


def autodiscover(package: str, module_name: str = "jobs") -> list[str]:
    """Import every module named `module_name` in `package`, at any depth; returns their full names.

    Both project layouts work: one `package/jobs.py`, or a `jobs.py` in each of several folders. Raises
    `DiscoveryError`, which names the module that fails to import, with the cause chained.
    """
    _share_main_module()
    root = _import(package)
    found = []
    for folder in getattr(root, "__path__", ()):
        _refuse_twins(Path(folder), package)
    if not hasattr(root, "__path__"):
        raise DiscoveryError(
            f"autodiscover({package!r}): {package} is a module, not a package; "
            "name the package that holds the jobs"
        )
    for module in pkgutil.walk_packages(root.__path__, f"{package}.", onerror=_fail):
        if module.name.rpartition(".")[2] == module_name:
            _import(module.name)
            found.append(module.name)
    for folder in root.__path__:
        _refuse_hidden(Path(folder), package, module_name)
        for path in sorted(Path(folder).rglob(module_name)):
            _refuse_twins(path, package)
    if not found:
        raise DiscoveryError(
            f"autodiscover({package!r}, module_name={module_name!r}): no module of that name below "
            f"{', '.join(root.__path__)}; create {package}/{module_name}.py or name the right module"
        )
    return found


def _refuse_twins(folder: Path, package: str) -> None:
    """Refuse `jobs/` next to `jobs.py`: Python imports only one, and the other's jobs would be missing."""
    module = folder.with_suffix(".py")
    if module.is_file() and folder.is_dir() and next(folder.rglob("*.py"), None) is not None:
        raise DiscoveryError(
            f"autodiscover({package!r}): there are both {module} and {folder}/, of which Python imports "
            f"only one: move the content of {module.name} into {folder}/__init__.py, or rename one of them"
        )


def _refuse_hidden(root: Path, package: str, module_name: str) -> None:
    """Refuse folders without `__init__.py`: Python skips them, and their jobs would be silently missing."""
    for file in sorted(root.rglob(f"{module_name}.py")):
        folders = [root / folder for folder in file.relative_to(root).parents if folder != Path()]
        bare = [folder for folder in folders if not (folder / "__init__.py").is_file()]
        if bare:
            raise DiscoveryError(
                f"autodiscover({package!r}): Python does not find {file}, because {bare[0]} has no "
                "__init__.py; create an empty one"
            )


def _share_main_module() -> None:
    """Make `from app import app` in a jobs module find the running `python app.py` or `python -m app`.

    Otherwise Python would load `app.py` a second time, and the jobs would register with an app that never
    runs.
    """
    frame = inspect.currentframe()
    caller = frame.f_back.f_back if frame and frame.f_back else None
    main = sys.modules.get("__main__")
    if caller is None or main is None or caller.f_globals is not vars(main):
        return
    file, spec = getattr(main, "__file__", None), getattr(main, "__spec__", None)
    name = spec.name if spec is not None else None if file is None else Path(file).stem
    if name is not None:
        sys.modules.setdefault(name, main)


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except DiscoveryError:
        raise
    except (Exception, SystemExit) as error:
        raise DiscoveryError(
            f"autodiscover: importing {name} failed: {type(error).__name__}: {error}; "
            f"run `python -c 'import {name}'` to reproduce it"
        ) from error


def _fail(name: str) -> None:
    error = sys.exc_info()[1]
    raise DiscoveryError(f"autodiscover: importing {name} failed: {type(error).__name__}: {error}") from error
