"""Finds and imports the application of a folder: the module with its one `PikoApp`."""

from __future__ import annotations

import ast
import importlib.util
import sys
import traceback
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from types import ModuleType

from piko.app import PikoApp
from piko.errors import DiscoveryError, PikoError

PREFERRED = "app.py"
_MOST_FILES = 200
_MOST_CAUSES = 20
"""Files that are watched because of one failed load, and errors behind it whose files are."""


class FailedLoadError(DiscoveryError):
    """The code of a folder cannot be loaded; a change of one of `files` may mend it."""

    def __init__(self, message: str, *, files: frozenset[Path]) -> None:
        super().__init__(message)
        self.files = files


def load_app(folder: Path) -> PikoApp:
    """The app that `folder` declares; jobs in other modules are found where that module imports them.

    The module is `app.py` if it exists, otherwise the one file that creates a PikoApp. Only that file is
    imported, with the folder first on Python's path, as `python app.py` does. Raises `DiscoveryError`.
    """
    path = module_path(folder)
    apps = _apps(_import(path))
    if len(apps) == 1:
        return next(iter(apps.values()))
    if not apps:
        raise DiscoveryError(
            f"{path}: has no PikoApp; expected one, for example `app = PikoApp(name={folder.name!r})`"
        )
    raise DiscoveryError(
        f"{path}: has {len(apps)} PikoApps ({', '.join(sorted(apps))}), expected one; "
        "register all jobs with one of them and remove the others"
    )


def reload_app(folder: Path) -> PikoApp:
    """The app as the files of `folder` are now.

    Raises `FailedLoadError`; then the modules that were loaded before are there as they were.
    """
    ours = _modules_of(folder)
    _forget(ours)
    importlib.invalidate_caches()
    try:
        return load_app(folder)
    except (DiscoveryError, SystemExit) as error:
        files = _files_of_failure(error, folder)
        _forget(_modules_of(folder))
        sys.modules.update(ours)
        ended = f"{folder}: its module ended the process while it was imported"
        message = ended if isinstance(error, SystemExit) else str(error)
        raise FailedLoadError(message, files=files) from error


def _files_of_failure(error: BaseException, folder: Path) -> frozenset[Path]:
    """The files of `folder` that a failed load has got to, and those that a missing module might be."""
    files = _files_of(folder)
    cause: BaseException | None = error
    for _ in range(_MOST_CAUSES):
        if cause is None:
            break
        files |= {Path(frame.f_code.co_filename) for frame, _ in traceback.walk_tb(cause.__traceback__)}
        files |= _files_named_by(cause, folder)
        cause = cause.__cause__ or cause.__context__
    own = (path for path in files if _is_own_file(path, folder))
    return frozenset(islice(own, _MOST_FILES))


def _files_named_by(error: BaseException, folder: Path) -> set[Path]:
    if isinstance(error, SyntaxError) and error.filename is not None:
        return {Path(error.filename)}
    parts = (error.name or "").split(".") if isinstance(error, ModuleNotFoundError) else []
    if not parts or not all(part.isidentifier() for part in parts):
        return set()
    module = folder.joinpath(*parts)
    return {module.with_name(f"{module.name}.py"), module / "__init__.py"}


def _modules_of(folder: Path) -> dict[str, ModuleType]:
    """The loaded modules whose files are in `folder`, but not in an environment there."""
    return {name: module for name, module in list(sys.modules.items()) if _is_own(module, folder)}


def _is_own(module: ModuleType, folder: Path) -> bool:
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and _is_own_file(Path(file), folder)


def _is_own_file(path: Path, folder: Path) -> bool:
    if not path.is_relative_to(folder):
        return False
    parts = path.relative_to(folder).parts
    return "site-packages" not in parts and not any(part.startswith(".") for part in parts)


def _forget(modules: Iterable[str]) -> None:
    for name in modules:
        sys.modules.pop(name, None)


def module_path(folder: Path) -> Path:
    """The module of the folder's app. Raises `DiscoveryError` if there is none, or more than one."""
    preferred = folder / PREFERRED
    if preferred.is_file():
        return preferred
    modules = sorted(path for path in folder.glob("*.py") if path.is_file())
    makers = [path for path in modules if _makes_an_app(path)]
    if len(makers) == 1:
        return makers[0]
    if makers:
        raise DiscoveryError(
            f"{folder}: {len(makers)} files create a PikoApp ({', '.join(path.name for path in makers)}), "
            f"expected one; keep one of them, or rename the one to run to {PREFERRED}"
        )
    looked = ", ".join(path.name for path in modules) or "no Python file"
    raise DiscoveryError(
        f"{folder}: no PikoApp found (searched: {looked}); expected {PREFERRED} with "
        f"`app = PikoApp(name={folder.name!r})` and jobs declared by `@app.job(job_id=…)`"
    )


def _makes_an_app(path: Path) -> bool:
    return any(
        isinstance(node, ast.Call)
        and (getattr(node.func, "id", None) == "PikoApp" or getattr(node.func, "attr", None) == "PikoApp")
        for node in ast.walk(_parse(path))
    )


def _parse(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes(), filename=str(path))
    except SyntaxError as error:
        raise _not_python(error, path) from None
    except (OSError, ValueError) as error:
        raise DiscoveryError(f"{path}: cannot be read as Python: {error}") from None


def _import(path: Path) -> ModuleType:
    _parse(path)
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # so that a module of jobs that imports it gets this instance
    try:
        spec.loader.exec_module(module)
    except PikoError as error:
        raise DiscoveryError(f"{path}: {error}") from error
    except SyntaxError as error:
        raise _not_python(error, path) from error
    except Exception as error:
        raise DiscoveryError(
            f"{_place(error, path)}: importing {path.name} failed with {type(error).__name__}: {error}; "
            f"fix it; `python {path}` shows the same error"
        ) from error
    return module


def _apps(module: ModuleType) -> dict[str, PikoApp]:
    """The apps of `module` by name; an app with two names counts once."""
    named = {id(value): name for name, value in vars(module).items() if isinstance(value, PikoApp)}
    return {name: getattr(module, name) for name in named.values()}


def _not_python(error: SyntaxError, path: Path) -> DiscoveryError:
    line = f": {error.text.strip()!r}" if error.text else ""
    return DiscoveryError(
        f"{error.filename or path}, line {error.lineno}{line}: not valid Python: {error.msg}; fix it"
    )


def _place(error: Exception, path: Path) -> str:
    """The innermost line of the folder's own code in the traceback."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(path.parent)
    ]
    return f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else str(path)


def code_stamps(folder: Path, *, more: Collection[Path] = ()) -> dict[str, int]:
    """When each Python file in `folder`, each below it that is loaded, and each of `more` was changed."""
    return _stamps(folder, {*folder.glob("*.py"), *_files_of(folder), *more})


def stamps_of_loaded(
    folder: Path, before: Mapping[str, int], *, more: Collection[Path] = ()
) -> dict[str, int]:
    """The stamps of the code that was loaded; `before` are those of `code_stamps` right before the load.

    A file that was saved during the load keeps its stamp of before, so that it counts as changed.
    """
    return {name: before.get(name, stamp) for name, stamp in code_stamps(folder, more=more).items()}


def _files_of(folder: Path) -> set[Path]:
    return {Path(str(module.__file__)) for module in _modules_of(folder).values()}


def _stamps(folder: Path, paths: Iterable[Path]) -> dict[str, int]:
    stamps = {}
    for path in paths:
        with suppress(OSError):  # it was deleted at this moment
            stamps[str(path.relative_to(folder))] = path.stat().st_mtime_ns
    return stamps
