"""`piko spool`: what waits on disk for its sink, and the dead letters that a sink refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from piko.cli.answers import Form, Output
from piko.errors import SpoolError

if TYPE_CHECKING:
    from piko.store.spool import DeadLetter

commands = typer.Typer(help="Look at the spool, and decide about dead letters.", no_args_is_help=True)


Folder = Annotated[
    Path | None,
    typer.Option("--dir", help="Folder of the spool; default: the setting `spool_dir`.", show_default=False),
]
Letters = Annotated[
    list[str] | None,
    typer.Argument(metavar="[LETTER]...", help="As `piko spool list` names them.", show_default=False),
]
All = Annotated[bool, typer.Option("--all", help="Every dead letter.")]


@commands.command("list")
def list_(
    folder: Folder = None,
    output: Form = Output.TEXT,
) -> None:
    """Show how many intents wait for each sink, and every dead letter with its error. Changes nothing."""
    from piko.store.spool import look

    waiting: dict[str, int] = {}
    letters: list[tuple[str, DeadLetter]] = []
    for path in _files(folder):
        counts, dead = look(path)
        for sink, count in counts.items():
            waiting[sink] = waiting.get(sink, 0) + count
        letters.extend((f"{path.stem}/{letter.id}", letter) for letter in dead)
    if output is Output.JSON:
        answer = {
            "waiting": waiting,
            "dead_letters": [
                {
                    "letter": name,
                    "sink": item.sink,
                    "died_at": item.died_at,
                    "error": item.error,
                    "intent": json.loads(item.body),
                }
                for name, item in letters
            ],
        }
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
        return
    for sink, count in sorted(waiting.items()):
        typer.echo(f"{count} waiting for {sink}")
    for name, item in letters:
        typer.echo(f"{name}  {item.sink}  {item.died_at}  key {json.loads(item.body)[0]}  {item.error}")
    if not waiting and not letters:
        typer.echo("the spool is empty")


@commands.command()
def replay(letters: Letters = None, everything: All = False, folder: Folder = None) -> None:
    """Let dead letters be delivered at the next start. No replica may be using their file."""
    _decide(letters, everything, folder, "replay")


@commands.command()
def drop(letters: Letters = None, everything: All = False, folder: Folder = None) -> None:
    """Forget dead letters for good. No replica may be using their file."""
    _decide(letters, everything, folder, "drop")


def _decide(letters: list[str] | None, everything: bool, folder: Path | None, verb: str) -> None:
    from piko.store.spool import SpoolFile, look

    if bool(letters) == everything:
        raise typer.BadParameter("name dead letters, or say --all")
    wanted = set(letters or ())
    done = 0
    for path in _files(folder):
        _, dead = look(path)
        chosen = [item.id for item in dead if everything or f"{path.stem}/{item.id}" in wanted]
        wanted -= {f"{path.stem}/{number}" for number in chosen}
        if not chosen:
            continue
        file = SpoolFile(path)
        try:
            (file.replay if verb == "replay" else file.drop)(chosen)
        finally:
            file.close()
        done += len(chosen)
    if wanted:
        raise SpoolError(f"no dead letter {', '.join(sorted(wanted))}; `piko spool list` shows what there is")
    typer.echo(f"{done} dead letters: {verb}")


def _files(folder: Path | None) -> list[Path]:
    if folder is None:
        from piko.settings import load_settings

        folder = load_settings().spool_dir
    return sorted(folder.glob("*.spool"))
