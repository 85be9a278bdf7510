"""Settings files: TOML with one table, `[default]`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from piko.errors import SettingsError


def read_table(path: Path) -> dict[str, Any]:
    """What `[default]` of the file holds, by names in small letters.

    Raises `SettingsError`, which names the file, where it cannot be read or holds anything else.
    """
    try:
        # utf-8-sig: some editors begin a file with a byte order mark.
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:  # no UTF-8, no TOML, or a number of thousands of digits
        raise SettingsError(f"settings file {path} is not TOML: {error}") from None
    except RecursionError:
        raise SettingsError(
            f"settings file {path}: its values are nested too deep; expected plain values in [default]"
        ) from None
    except OSError as error:
        raise SettingsError(
            f"settings file {path} cannot be read: {error.strerror}; let this process read it"
        ) from None
    table = document.get("default", {})
    strays = sorted(set(document) - {"default"})
    if strays or not isinstance(table, dict):
        raise SettingsError(
            f"settings file {path}: expected one table [default] with all settings in it, "
            f"found {', '.join(strays) or 'a value'} outside it"
        )
    return _by_lower_name(table, path)


def _by_lower_name(table: Mapping[str, Any], path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in table.items():
        if name.lower() in found:
            raise SettingsError(
                f"settings file {path}: `{name.lower()}` is given twice, in capitals and not; keep one"
            )
        found[name.lower()] = value
    return found
