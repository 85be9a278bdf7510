"""`piko status`: one screen that says whether all is well, and what to do if it is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import typer

from piko.cli.answers import Dsn, Form, Output, dsn_in_force, say, show_document, show_table
from piko.cli.reads import Reads, web_reads, with_reads
from piko.cli.watching import Watch, show_answer
from piko.errors import DatabaseUnavailableError, PikoError, SchemaError
from piko.tables import Row, ago

if TYPE_CHECKING:
    from piko.store.reports.trouble import Trouble
    from piko.store.reports.troubles import InstallationReport
    from piko.store.schema.status import SchemaStatus

Look: TypeAlias = "tuple[SchemaStatus | None, InstallationReport | None, list[Trouble]]"
"""The schema, the installation and what is wrong; None where the database does not say."""

_SHOWN = 40
_MOMENT_S = 1.0


def status(watch: Watch = False, dsn: Dsn = None, output: Form = Output.TEXT) -> None:
    """Say on one screen whether all is well. Exit 1 if something needs a person, with what to do.

    Looks at the database, the leader, the replicas, every job, and the spool if this machine has it.
    """
    show_answer(lambda: _read(dsn), lambda read: _answer(read, output), watch=watch, output=output)


def _read(dsn: str | None) -> Look:
    schema, seen, found = with_reads(dsn, _look)
    if web_reads.get() is None:
        found += _of_this_machine(dsn, said={(item.kind, item.subject) for item in found})
    return schema, seen, found


def _answer(read: Look, output: Output) -> bool:
    """Show it; whether something needs a person."""
    schema, seen, found = read
    if output.is_document:
        show_document(_as_document(schema, seen, found), output)
    else:
        _show(schema, seen, found)
    return bool(found)


async def _look(reads: Reads) -> Look:
    """What the database and the replicas say."""
    from piko.store.reports.trouble import Trouble

    try:
        schema = await reads.schema()
    except (DatabaseUnavailableError, SchemaError) as error:  # away, or it refuses what is asked
        text = str(error)
        return None, None, [Trouble(kind="database", subject="database", text=text, remedy="see its server")]
    found = []
    if schema.state not in ("current", "ahead"):
        remedy = "piko db check" if schema.usable else "piko db upgrade"
        found.append(Trouble(kind="schema", subject="database", text=schema.message, remedy=remedy))
    if not schema.usable:
        return schema, None, found
    seen = await reads.installation()
    return schema, seen, [*found, *seen.troubles]


def _of_this_machine(dsn: str | None, *, said: Collection[tuple[str, str]]) -> list[Trouble]:
    """What the spool of this machine says, and no replica has `said`."""
    from piko.settings import load_settings
    from piko.store.reports.trouble import Trouble

    folder = load_settings(mysql_dsn=dsn_in_force(dsn)).spool_dir
    return [
        Trouble(kind=kind, subject=f"sink {sink}", text=text, remedy="piko spool list --on-disk")
        for kind, sink, text in _of_spool(folder)
        if (kind, f"sink {sink}") not in said
    ]


def _of_spool(folder: Path) -> list[tuple[str, str, str]]:
    """What the spool of this machine holds that it should not, by sink.

    Intents on disk are on their way; if there are as many a moment later, their sink takes none.
    """
    import time

    if not folder.is_dir():
        return []
    try:
        waiting, dead = _look_into(folder)
        if waiting:
            time.sleep(_MOMENT_S)
            later, dead = _look_into(folder)
            waiting = Counter({sink: later[sink] for sink, count in waiting.items() if later[sink] >= count})
    except PikoError as error:
        return [("spool", str(folder), str(error))]
    return [
        *(("sink_stuck", sink, f"{count} intents wait on disk for it") for sink, count in waiting.items()),
        *(("dead_letters", sink, f"it refused {count} records") for sink, count in dead.items()),
    ]


def _look_into(folder: Path) -> tuple[Counter[str], Counter[str]]:
    """Intents that wait and dead letters, by sink."""
    from piko.spool.intents import look

    waiting: Counter[str] = Counter()
    dead: Counter[str] = Counter()
    for path in sorted(folder.glob("*.spool")):
        counts, letters = look(path)
        waiting.update(counts)
        dead.update(letter.sink for letter in letters)
    return waiting, dead


def _as_document(
    schema: SchemaStatus | None, seen: InstallationReport | None, found: Sequence[Trouble]
) -> dict[str, object]:
    return {
        "well": not found,
        "database": None if schema is None else {"where": schema.where, "schema": schema.state},
        **({} if seen is None else {field.name: getattr(seen, field.name) for field in fields(seen)[1:]}),
        "troubles": list(found),
    }


def _show(schema: SchemaStatus | None, seen: InstallationReport | None, found: Sequence[Trouble]) -> None:
    if schema is not None:
        typer.echo(f"database  {schema.where}, schema {schema.state} at {schema.revision or 'none'}")
    if seen is not None:
        _show_parts(seen)
    if not found:
        typer.echo("\nnothing is wrong")
        return
    typer.echo("\nneeds attention")
    rows = [
        Row(
            cells=[
                item.subject,
                item.kind.replace("_", " "),
                "" if seen is None else ago(item.since, seen.now),
            ],
            notes=[item.text, *([item.error] if item.error else []), f"> {item.remedy}"],
        )
        for item in found[:_SHOWN]
    ]
    show_table(["WHAT", "TROUBLE", "SINCE"], rows, otherwise="")
    if len(found) > _SHOWN:
        say(f"and {len(found) - _SHOWN} more; `piko status -o json` shows all")


def _show_parts(seen: InstallationReport) -> None:
    for lease in seen.leaders:
        holder = (lease.holder_host or lease.holder) if lease.leads else "nobody"
        since = f", since {ago(lease.acquired_at, seen.now)}" if lease.acquired_at and lease.leads else ""
        typer.echo(f"leader    {holder}{since}, epoch {lease.epoch}")
    living = [item for item in seen.replicas if item.stopped_at is None and not item.silent]
    versions = ", ".join(sorted({f"{item.app} {item.version}" for item in living}))
    typer.echo(f"replicas  {len(living)}{f': {versions}' if versions else ''}")
    for item in seen.server.operators:
        heard = f", heard of {ago(item.heartbeat_at, seen.now)}" if item.heartbeat_at else ""
        typer.echo(f"operator  {item.cluster}{heard}")
    typer.echo(f"jobs      {seen.jobs.jobs}, {seen.jobs.disabled} of them paused")
    typer.echo(f"runs      {seen.runs.running} in progress, {seen.runs.queued} queued")
