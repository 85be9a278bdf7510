"""`piko spool`: write intents that wait on disk for their sink, and the dead letters that a sink refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from piko.cli.answers import Form, Output, first_line
from piko.errors import SpoolError
from piko.text import excerpt

if TYPE_CHECKING:
    from piko.spool.intents import DeadLetter

commands = typer.Typer(help="Inspect the spool; replay or drop dead letters.", no_args_is_help=True)


Folder = Annotated[
    Path | None,
    typer.Option("--dir", help="Folder of the spool. Default: the setting `spool_dir`.", show_default=False),
]
Letters = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[LETTER]...", help="Dead letters, as `piko spool list` names them.", show_default=False
    ),
]
All = Annotated[bool, typer.Option("--all", help="Every dead letter.")]
OfJob = Annotated[
    str | None,
    typer.Option("--job", metavar="JOB", help="Only dead letters of this job.", show_default=False),
]
OfRun = Annotated[
    str | None,
    typer.Option("--run", metavar="RUN", help="Only dead letters of this run.", show_default=False),
]


@commands.command("list")
def list_(job: OfJob = None, run: OfRun = None, folder: Folder = None, output: Form = Output.TEXT) -> None:
    """Show how many intents wait for each sink, and every dead letter with its error. Read-only."""
    from piko.spool.intents import look

    waiting: dict[str, int] = {}
    letters: list[tuple[str, DeadLetter]] = []
    for path in _files(folder):
        counts, dead = look(path, job_id=job, run_id=run)
        for sink, count in counts.items():
            waiting[sink] = waiting.get(sink, 0) + count
        letters.extend((f"{path.stem}/{letter.id}", letter) for letter in dead)
    if output is Output.JSON:
        typer.echo(json.dumps(_answer(waiting, letters), indent=2))
        return
    for sink, count in sorted(waiting.items()):
        typer.echo(f"{count} waiting for {sink}")
    for name, item in letters:
        key, job_id, run_id = (excerpt(str(each), limit=200) for each in item.names)
        error = first_line(item.error, length=200)
        typer.echo(f"{name}  {item.sink}  {item.died_at}  job {job_id}  run {run_id}  key {key}  {error}")
    if not waiting and not letters:
        of = "".join(f" of {what} {of!r}" for what, of in (("job", job), ("run", run)) if of is not None)
        typer.echo(f"the spool holds nothing{of}" if of else "the spool is empty")


def _answer(waiting: dict[str, int], letters: list[tuple[str, DeadLetter]]) -> dict[str, object]:
    dead = []
    for name, item in letters:
        key, job_id, run_id = item.names
        whose = {"letter": name, "sink": item.sink, "job_id": job_id, "run_id": run_id, "key": key}
        try:
            intent: object = json.loads(item.body)
        except ValueError:
            intent = item.body
        dead.append({**whose, "died_at": item.died_at, "error": item.error, "intent": intent})
    return {"waiting": waiting, "dead_letters": dead}


@commands.command()
def replay(
    letters: Letters = None,
    everything: All = False,
    job: OfJob = None,
    run: OfRun = None,
    folder: Folder = None,
) -> None:
    """Deliver dead letters again at the next start. No replica may be using their file."""
    _decide(letters, everything, job, run, folder, "replay")


@commands.command()
def drop(
    letters: Letters = None,
    everything: All = False,
    job: OfJob = None,
    run: OfRun = None,
    folder: Folder = None,
) -> None:
    """Delete dead letters. No replica may be using their file."""
    _decide(letters, everything, job, run, folder, "drop")


def _decide(
    letters: list[str] | None,
    everything: bool,
    job: str | None,
    run: str | None,
    folder: Path | None,
    verb: str,
) -> None:
    from piko.spool.intents import SpoolFile, look

    by_owner = job is not None or run is not None
    if (bool(letters), everything, by_owner).count(True) != 1:
        raise typer.BadParameter("give dead letters, or --all, or --job or --run")
    wanted = set(letters or ())
    done = 0
    for path in _files(folder):
        _, dead = look(path, job_id=job, run_id=run)
        chosen = [item.id for item in dead if not wanted or f"{path.stem}/{item.id}" in wanted]
        wanted -= {f"{path.stem}/{number}" for number in chosen}
        if not chosen:
            continue
        file = SpoolFile(path)
        try:
            (file.replay if verb == "replay" else file.drop)(chosen)
        finally:
            file.close()
        done += len(chosen)
        if letters and not wanted:
            break
    if wanted:
        raise SpoolError(f"no dead letter {', '.join(sorted(wanted))}; `piko spool list` shows them")
    typer.echo(f"{done} dead letters: {verb}")


def _files(folder: Path | None) -> list[Path]:
    """The files of the spool. Raises `SpoolError` if there is no readable spool."""
    named = f"--dir {str(folder)!r}"
    if folder is None:
        from piko.settings import load_settings

        folder = load_settings().spool_dir
        named = f"setting `spool_dir` = {str(folder)!r}"
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "there is no such folder"
        raise SpoolError(
            f"{named}: {what}; run this on the replica's machine (in its pod: kubectl exec) with its "
            "settings, or name the folder with --dir"
        )
    if not os.access(folder, os.R_OK | os.X_OK):
        raise SpoolError(f"{named}: this user may not read it; run this as the replica's user")
    return sorted(folder.glob("*.spool"))
