"""The parts of the pages that the code knows best: `make generate` writes them.

A page holds a place for one between two markers, wherever it likes:

    <!-- generated: NAME -->
    <!-- end generated -->

What comes between them is one of `BLOCKS`. A test finds each on one page, and compares it with the code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, get_args

import typer
from docs.chart_values import table as chart_values
from prometheus_client import CollectorRegistry
from pydantic import BaseModel, SecretStr
from pydantic.alias_generators import to_camel
from sqlalchemy import CheckConstraint, Table
from sqlalchemy.dialects import mysql
from sqlalchemy.sql.elements import TextClause

import piko.errors as errors_module
from piko.cli import program
from piko.cli.done_by import readings
from piko.cli.subcommands import SUBCOMMANDS
from piko.clock import SystemClock
from piko.errors import PikoError
from piko.observability.metrics import Metrics
from piko.settings import Settings
from piko.store.schema.column_types import Now, NowOnWrite
from piko.store.schema.tables import TABLES
from piko.web.application import create_web
from piko.web.options import WebSettings
from piko_operator.config_spec import JobConfigSpec
from piko_operator.field_types import Column, SpecPart
from piko_operator.metrics import OperatorMetrics
from piko_operator.schedule_spec import ScheduleSpec
from piko_operator.settings import PREFIX, SHARED, OperatorSettings

DOCS = Path(__file__).parent
_BLOCK = re.compile(r"(<!-- generated: ([\w-]+) -->\n)(.*?)(<!-- end generated -->)", re.DOTALL)

_RESOURCES: Mapping[str, tuple[str, type[SpecPart], Mapping[str, str]]] = {
    "scheduled_job": (
        "PikoSchedule",
        ScheduleSpec,
        {"schedule_type": "`schedule`", "schedule_expr": "`schedule`"},
    ),
    "job_config": ("PikoJobConfig", JobConfigSpec, {"secret_json": "`configFrom`"}),
}
"""By table: the resource that becomes its row, its spec, and its fields that are not one column each."""
_SAID_ONCE = ("help", "dsn", "output")
"""Options that every command has; the page says once what they are."""


# ---- tables -----------------------------------------------------------------------------------------


def tables() -> str:
    """Every table: its columns, what it refuses, its indexes."""
    return "\n".join(line for table in TABLES for line in _table(table))


def _table(table: Table) -> Iterator[str]:
    kind, fields = _fields_of(table.name)
    yield f"### `{table.name}`\n"
    yield "| column | type | if left out |" + (f" in a {kind} |" if kind else "") + " meaning |"
    yield "|---|---|---|" + ("---|" if kind else "") + "---|"
    for column in table.columns:
        field = f" {fields.get(column.name, '')} |" if kind else ""
        yield f"| `{column.name}` | {_type(column)} | {_default(column)} |{field} {column.comment} |"
    yield ""
    key = ", ".join(f"`{column.name}`" for column in table.primary_key)
    yield f"Primary key: {key}.\n"
    for index in sorted(table.indexes, key=lambda item: str(item.name)):
        yield f"Index `{index.name}`: {', '.join(f'`{column.name}`' for column in index.columns)}.\n"
    names = sorted({str(item.name) for item in table.constraints if isinstance(item, CheckConstraint)})
    if names:
        yield f"Refused unless: {', '.join(f'`{name}`' for name in names)}.\n"


def _type(column: Any) -> str:
    return str(column.type.compile(dialect=mysql.dialect())).partition(" CHARACTER SET")[0]


def _default(column: Any) -> str:
    default = getattr(column.server_default, "arg", None)
    if default is None:
        return "NULL" if column.nullable else "must be given"
    if isinstance(default, Now | NowOnWrite):
        return "the time"
    return f"`{default.text}`" if isinstance(default, TextClause) else f"`{default}`"


def _fields_of(table: str) -> tuple[str, dict[str, str]]:
    """The kind of resource that becomes a row of `table`, and its field by column; none for other tables."""
    if table not in _RESOURCES:
        return "", {}
    kind, spec, beside = _RESOURCES[table]
    return kind, {**beside, **dict(_fields(spec))}


def _fields(spec: type[SpecPart], path: str = "") -> Iterator[tuple[str, str]]:
    """Column and field, `retry.backoff: 10s`, with the default that a field has where it is left out."""
    for name, info in spec.model_fields.items():
        here = f"{path}{to_camel(name)}"
        default = info.get_default()
        for column in info.metadata:
            if isinstance(column, Column):
                has_none = info.is_required() or default is None
                yield column.name, f"`{here}`" if has_none else f"`{here}: {_yaml(default)}`"
        if isinstance(default, SpecPart):
            yield from _fields(type(default), f"{here}.")


def _yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


# ---- settings, metrics ------------------------------------------------------------------------------


def settings() -> str:
    """The settings of a replica."""
    return "".join(_settings(Settings, "setting", lambda name: name))


def operator_settings() -> str:
    """The settings of the operator."""
    return "".join(_settings(OperatorSettings, "variable", _variable))


def _variable(name: str) -> str:
    return SHARED.get(name, PREFIX + name.upper())


def _settings(model: type[BaseModel], title: str, name_of: Callable[[str], str]) -> Iterator[str]:
    yield f"| {title} | default | |\n|---|---|---|\n"
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else _shown(field.default)
        yield f"| `{name_of(name)}` | {default} | {field.description} |\n"


def _shown(default: object) -> str:
    match default:
        case None | ():
            return "none"
        case bool():
            return f"`{str(default).lower()}`"
        case float():
            return f"`{default:.12g}`"
        case _:
            return f"`{default}`"


def metrics() -> str:
    """The metrics of a replica."""
    return "".join(_metrics(Metrics().registry))


def operator_metrics() -> str:
    """The metrics of the operator."""
    return "".join(_metrics(OperatorMetrics().registry))


def _metrics(registry: CollectorRegistry) -> Iterator[str]:
    yield "| metric | type | labels | |\n|---|---|---|---|\n"
    suffixes = {"counter": "_total", "info": "_info"}
    rows = []
    for (
        collector
    ) in registry._collector_to_names:  # the registry says nothing of labels that have no value yet
        for family in collector.collect():
            name = family.name + suffixes.get(family.type, "")
            labels = getattr(collector, "_labelnames", ()) or getattr(family, "_labelnames", ())
            if family.type == "info":
                labels = tuple(family.samples[0].labels)
            listed = ", ".join(f"`{label}`" for label in labels)
            rows.append(f"| `{name}` | {family.type} | {listed} | {family.documentation} |\n")
    yield from sorted(rows)


# ---- commands ---------------------------------------------------------------------------------------


def commands() -> str:
    """Every command with its arguments and options."""
    return "\n".join(_group("piko", typer.main.get_command(program()))) + "\n"


def plugin() -> str:
    """What `kubectl piko` reads from the web service, and what it does without a release."""
    reads = ", ".join(f"`{name}`" for name in readings())
    here = ", ".join(f"`{name}`" for name, known in sorted(SUBCOMMANDS.items()) if known.here)
    return (
        f"Only read: {reads}; `next` of a job, `watermark` without an instant, and `spool list` without "
        f"`--dir` and `--on-disk`.\n\nNeed no release: {here}, and the help of every command.\n"
    )


def _group(path: str, group: Any) -> Iterator[str]:
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from _group(f"{path} {name}", command)
        else:
            yield from _command(f"{path} {name}", command)


def _command(path: str, command: Any) -> Iterator[str]:
    arguments = [item for item in command.params if item.param_type_name == "argument"]
    usage = " ".join([path, *(_metavar(item) for item in arguments)])
    yield f"### `{usage}`\n"
    yield " ".join((command.help or "").split()) + "\n"
    rows = [row for item in command.params if (row := _parameter(item))]
    if rows:
        yield "| | |"
        yield "|---|---|"
        yield from rows
        yield ""


def _parameter(item: Any) -> str:
    if item.name in _SAID_ONCE:
        return ""
    text = " ".join((getattr(item, "help", None) or "").split()).replace("|", "\\|")
    if item.param_type_name == "argument":
        return f"| `{_metavar(item)}` | {text} |".replace("[EXPRESSION|", "[EXPRESSION\\|")
    name = ", ".join(f"`{opt}`" for opt in sorted(item.opts, key=len, reverse=True))
    flag = "" if item.is_flag else f" {_value(item)}"
    default = "" if item.default in (None, False, "") or item.required else f" (default {item.default})"
    needed = " **Required.**" if item.required else ""
    return f"| {name}{flag} | {text}{default}{needed} |"


def _metavar(item: Any) -> str:
    return str(item.metavar or item.name.upper())


def _value(item: Any) -> str:
    kinds = [item.type_descriptor.annotation]
    kinds += [part for kind in kinds for part in get_args(kind)]
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, Enum):
            return " or ".join(str(choice.value) for choice in kind)
    return str(item.metavar or ("N" if {int, float}.intersection(kinds) else "TEXT"))


# ---- Python -----------------------------------------------------------------------------------------


def errors() -> str:
    """Every public exception, each below the one that it is a kind of."""
    lines = ["| exception | meaning |", "|---|---|", *_error(PikoError, depth=0)]
    return "\n".join(lines) + "\n"


def _error(kind: type[PikoError], *, depth: int) -> Iterator[str]:
    meaning = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
    yield f"| {'&emsp;' * depth}`{kind.__name__}` | {meaning} |"
    public = (each for each in kind.__subclasses__() if each.__name__ in errors_module.__all__)
    for each in sorted(public, key=lambda found: found.__name__):
        yield from _error(each, depth=depth + 1)


# ---- pages ------------------------------------------------------------------------------------------

BLOCKS: Mapping[str, Callable[[], str]] = {
    "tables": tables,
    "settings": settings,
    "operator-settings": operator_settings,
    "metrics": metrics,
    "operator-metrics": operator_metrics,
    "commands": commands,
    "kubectl": plugin,
    "errors": errors,
    "chart-values": lambda: "".join(chart_values()),
}


def written() -> Iterator[tuple[Path, str, str]]:
    """Page, name and text of each block as it stands in the pages."""
    for page in sorted(DOCS.rglob("*.md")):
        for match in _BLOCK.finditer(page.read_text(encoding="utf-8")):
            yield page, match[2], match[3]


def write() -> None:
    """Write each block. Raises `KeyError` for a name that no block has."""
    for page in sorted({page for page, _, _ in written()}):
        text = page.read_text(encoding="utf-8")
        new = _BLOCK.sub(lambda match: match[1] + BLOCKS[match[2]]() + match[4], text)
        page.write_text(new, encoding="utf-8")


def write_description() -> None:
    """Write the description of the API to `openapi.json`."""
    settings = WebSettings(dsn=SecretStr("sqlite+aiosqlite://"), timezone="UTC")
    described = create_web(settings=settings, clock=SystemClock()).openapi()
    text = json.dumps(described, indent=1, ensure_ascii=False) + "\n"
    (DOCS / "openapi.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
    write_description()
