"""`piko spool`: what waits for sinks, and the dead letters that they refused.

Replicas list their dead letters in the database, and do what is asked for them there, so these commands work
from anywhere. With `--dir` or `--on-disk` they open the files themselves: those of processes that have ended,
or of a replica whose database is away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from piko.cli import spool_files
from piko.cli.answers import (
    DryRun,
    Dsn,
    Form,
    Output,
    Reason,
    first_line,
    person,
    say,
    show_document,
    stamp,
    with_database,
)
from piko.cli.reads import Reads, with_reads
from piko.text import counted, excerpt

if TYPE_CHECKING:
    from piko.model.dead_letters import LetterVerb
    from piko.steering.bulk import ItemResult
    from piko.store.engine import Database
    from piko.store.reports.dead_letters import DeadLetterReport, LetterFilter
    from piko.store.reports.sinks import SinkReport

commands = typer.Typer(help="Inspect the spool; replay or drop dead letters.", no_args_is_help=True)

_NAME = 200

Folder = Annotated[
    Path | None,
    typer.Option(
        "--dir", help="Open the files of this folder instead of asking replicas.", show_default=False
    ),
]
OnDisk = Annotated[
    bool, typer.Option("--on-disk", help="The same for the folder of the setting `spool_dir`.")
]
Letters = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[LETTER]...", help="Dead letters, as `piko spool list` names them.", show_default=False
    ),
]
All = Annotated[bool, typer.Option("--all", help="Every dead letter.")]
OfSink = Annotated[
    str | None,
    typer.Option("--sink", metavar="SINK", help="Only dead letters of this sink.", show_default=False),
]
OfJob = Annotated[
    str | None,
    typer.Option("--job", metavar="JOB", help="Only dead letters of this job.", show_default=False),
]
OfRun = Annotated[
    str | None,
    typer.Option("--run", metavar="RUN", help="Only dead letters of this run.", show_default=False),
]
OfReplica = Annotated[
    str | None,
    typer.Option(
        "--replica",
        metavar="INSTANCE",
        help="Only dead letters on the disk of this instance, as `piko spool list -o json` names it.",
        show_default=False,
    ),
]


@commands.command("list")
def list_(
    sink: OfSink = None,
    job: OfJob = None,
    run: OfRun = None,
    replica: OfReplica = None,
    folder: Folder = None,
    on_disk: OnDisk = False,
    dsn: Dsn = None,
    output: Form = Output.TEXT,
) -> None:
    """Show what waits for each sink, and the dead letters with their errors, the newest first. Read-only."""
    from piko.store.reports.dead_letters import LetterFilter

    if _is_of_files(folder, on_disk, replica=replica, dsn=dsn):
        spool_files.list_files(folder, sink=sink, job=job, run=run, output=output)
        return
    wanted = LetterFilter(sink=sink, job_id=job, run_id=run, instance_id=replica)
    found, sinks = with_reads(dsn, lambda reads: _read(reads, wanted))
    if output.is_document:
        show_document({"sinks": sinks, "dead_letters": found}, output)
        return
    for item in sinks:
        if wanted == LetterFilter() or wanted.sink == item.sink:
            _show_sink(item)
    for letter in found:
        _show_letter(letter)
    listed = sum(item.dead_letters for item in sinks)
    if not found:
        typer.echo("no dead letters" if wanted == LetterFilter() else "no dead letters of these are listed")
    elif wanted == LetterFilter() and listed > len(found):
        typer.echo(
            f"and {listed - len(found):,} more; replicas list their newest, and more once these have ended"
        )


async def _read(reads: Reads, wanted: LetterFilter) -> tuple[list[DeadLetterReport], list[SinkReport]]:
    return await reads.dead_letters(wanted), await reads.sinks()


def _show_sink(item: SinkReport) -> None:
    waits = f"{item.waiting:,} waiting for {item.sink}"
    oldest = f", the oldest on disk since {stamp(item.oldest_at)}" if item.oldest_at else ""
    if item.waiting or item.error:
        typer.echo(waits + oldest)
    if item.error:
        since = f" since {stamp(item.failing_since)}" if item.failing_since else ""
        typer.echo(f"  it fails{since}: {first_line(item.error, length=_NAME)}")


def _show_letter(item: DeadLetterReport) -> None:
    key, job_id, run_id = (excerpt(each, limit=_NAME) for each in (item.key, item.job_id, item.run_id))
    error = first_line(item.error, length=_NAME)
    died = stamp(item.died_at)
    typer.echo(f"{item.letter_id}  {item.sink}  {died}  job {job_id}  run {run_id}  key {key}  {error}")
    if item.asked:
        typer.echo(f"  {item.asked} asked by {item.asked_by}, {stamp(item.asked_at)}")
    for said in (item.answer, item.note):
        if said:
            typer.echo(f"  {said}")


@commands.command()
def replay(
    letters: Letters = None,
    everything: All = False,
    sink: OfSink = None,
    job: OfJob = None,
    run: OfRun = None,
    replica: OfReplica = None,
    reason: Reason = None,
    dry_run: DryRun = False,
    folder: Folder = None,
    on_disk: OnDisk = False,
    dsn: Dsn = None,
    output: Form = Output.TEXT,
) -> None:
    """Have dead letters written to their sinks again: their replicas do so within a poll.

    In a folder they are put back into the queue for the next start; no process may be using their file.
    """
    from piko.model.dead_letters import LetterVerb

    of_files = _is_of_files(folder, on_disk, replica=replica, reason=reason, dsn=dsn)
    chosen = _Chosen(
        letters=letters or (), everything=everything, sink=sink, job=job, run=run, replica=replica
    )
    if of_files:
        chosen.change_files(LetterVerb.REPLAY, folder, output, dry_run=dry_run)
    else:
        chosen.ask(LetterVerb.REPLAY, reason, dsn, output, dry_run=dry_run)


@commands.command()
def drop(
    letters: Letters = None,
    everything: All = False,
    sink: OfSink = None,
    job: OfJob = None,
    run: OfRun = None,
    replica: OfReplica = None,
    reason: Reason = None,
    dry_run: DryRun = False,
    folder: Folder = None,
    on_disk: OnDisk = False,
    dsn: Dsn = None,
    output: Form = Output.TEXT,
) -> None:
    """Have dead letters deleted: their replicas do so within a poll.

    In a folder they are deleted at once; no process may be using their file.
    """
    from piko.model.dead_letters import LetterVerb

    of_files = _is_of_files(folder, on_disk, replica=replica, reason=reason, dsn=dsn)
    chosen = _Chosen(
        letters=letters or (), everything=everything, sink=sink, job=job, run=run, replica=replica
    )
    if of_files:
        chosen.change_files(LetterVerb.DROP, folder, output, dry_run=dry_run)
    else:
        chosen.ask(LetterVerb.DROP, reason, dsn, output, dry_run=dry_run)


def _is_of_files(
    folder: Path | None,
    on_disk: bool,
    *,
    replica: str | None = None,
    reason: str | None = None,
    dsn: str | None = None,
) -> bool:
    """Whether a command is about files; an option that has no effect on them is refused."""
    if folder is None and not on_disk:
        return False
    if folder is not None and on_disk:
        raise typer.BadParameter("give --dir or --on-disk, not both")
    of_database = {
        "--replica chooses among what replicas list": replica,
        "--reason is kept in change_log, which files do not have": reason,
        "--dsn names a database, which is not asked": dsn,
    }
    for what, given in of_database.items():
        if given is not None:
            raise typer.BadParameter(f"{what}; leave it out with --dir or --on-disk")
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chosen:
    """Which dead letters a command is about: named ones, all, or those of its filters."""

    letters: Sequence[str]
    everything: bool
    sink: str | None
    job: str | None
    run: str | None
    replica: str | None

    def __post_init__(self) -> None:
        filters = (self.sink, self.job, self.run, self.replica)
        filtered = any(item is not None for item in filters)
        if (bool(self.letters), self.everything, filtered).count(True) != 1:
            raise typer.BadParameter("give dead letters, or --all, or --sink, --job, --run or --replica")

    def change_files(self, verb: LetterVerb, folder: Path | None, output: Output, *, dry_run: bool) -> None:
        """Do it to the files of `folder`, and say so."""
        results = spool_files.change(
            folder, verb, self.letters, sink=self.sink, job=self.job, run=self.run, dry_run=dry_run
        )
        if output.is_document:
            show_document(results, output)
            return
        typer.echo(f"{_counted(results)}: {verb}{' (--dry-run)' if dry_run else ''}")

    def ask(
        self, verb: LetterVerb, reason: str | None, dsn: str | None, output: Output, *, dry_run: bool
    ) -> None:
        """Ask the replicas for it, and say so."""

        async def ask(database: Database) -> list[ItemResult]:
            from piko.steering import dead_letters
            from piko.store.reports.dead_letters import LetterFilter

            actor = person(reason)
            if self.letters:
                return await dead_letters.ask_for_each(
                    database, self.letters, verb, actor=actor, dry_run=dry_run
                )
            wanted = LetterFilter(sink=self.sink, job_id=self.job, run_id=self.run, instance_id=self.replica)
            return await dead_letters.ask_for_all(database, wanted, verb, actor=actor, dry_run=dry_run)

        results = with_database(dsn, ask)
        if output.is_document:
            show_document(results, output)
            return
        changed = [item for item in results if item.result == "changed"]
        for note in sorted({item.detail for item in results if item.detail}):
            say(note)
        what = _counted(changed)
        if dry_run:
            typer.echo(f"{what}: {verb} would be asked (--dry-run)")
            return
        say(f"{what}: {verb} asked; their replicas do so within a poll, `piko spool list` shows what is left")


def _counted(letters: Sequence[ItemResult]) -> str:
    return counted(len(letters), "dead letter")
