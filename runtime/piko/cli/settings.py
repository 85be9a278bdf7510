"""`piko settings`: what is in force here, and where each of it comes from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from piko.cli.db import Output

if TYPE_CHECKING:
    from piko.settings import Settings

_DEFAULT = "default"


def settings(
    output: Annotated[Output, typer.Option("--output", "-o", help="Form of the answer.")] = Output.TEXT,
) -> None:
    """Print the settings in force in this directory and environment; secrets are masked."""
    from piko.settings import trace_settings

    found, origins = trace_settings()
    rows = [
        (name, _shown(found, name), origins.get(name, _DEFAULT).removeprefix("in "))
        for name in type(found).model_fields
    ]
    if output is Output.JSON:
        answer = {name: {"value": value, "from": origin} for name, value, origin in rows}
        typer.echo(json.dumps(answer, indent=2))
        return
    texts = [("SETTING", "VALUE", "FROM"), *((name, _text(value), origin) for name, value, origin in rows)]
    widths = [max(len(row[column]) for row in texts) for column in (0, 1)]
    for name, value, origin in texts:
        typer.echo(f"{name:<{widths[0]}}  {value:<{widths[1]}}  {origin}")


def _shown(found: Settings, name: str) -> object:
    from pydantic import SecretStr

    from piko.dsn import masked_dsn

    value = getattr(found, name)
    if name == "mysql_dsn":
        return masked_dsn(value.get_secret_value())
    return "***" if isinstance(value, SecretStr) else value


def _text(value: object) -> str:
    """As it would be written in a settings file."""
    if value is None:
        return "-"
    return json.dumps(value, ensure_ascii=False)
