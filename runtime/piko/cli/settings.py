"""`piko settings`: the settings in force and the source of each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from piko.cli.answers import Form, Output, show_document, show_table
from piko.tables import Row

if TYPE_CHECKING:
    from piko.settings import Settings

_DEFAULT = "default"


def settings(output: Form = Output.TEXT) -> None:
    """Print the settings in force for this directory and environment. Secrets are masked."""
    from piko.settings import trace_settings

    found, origins = trace_settings()
    rows = [
        (name, _shown(found, name), origins.get(name, _DEFAULT).removeprefix("in "))
        for name in type(found).model_fields
    ]
    if output.is_document:
        show_document({name: {"value": value, "from": origin} for name, value, origin in rows}, output)
    else:
        lines = [Row(cells=(name, _text(value), origin)) for name, value, origin in rows]
        shorten = [] if output is Output.WIDE else ["VALUE", "FROM"]
        show_table(["SETTING", "VALUE", "FROM"], lines, otherwise="no settings", shorten=shorten)


def _shown(found: Settings, name: str) -> object:
    from pydantic import SecretStr

    from piko.dsn import masked_dsn

    value = getattr(found, name)
    if name == "mysql_dsn":
        return masked_dsn(value.get_secret_value())
    if isinstance(value, SecretStr):
        return "***"
    return str(value) if isinstance(value, Path) else value


def _text(value: object) -> str:
    """`value` as a settings file would have it."""
    if value is None:
        return "-"
    return json.dumps(value, ensure_ascii=False)
