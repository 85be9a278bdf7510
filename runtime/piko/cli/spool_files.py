"""`piko spool` on the files of a folder, without a database: those of replicas that have ended."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from piko.cli.answers import Output, first_line, show_document
from piko.errors import SpoolError
from piko.model.dead_letters import LetterVerb
from piko.text import excerpt

if TYPE_CHECKING:
    from piko.spool.intents import DeadLetter
    from piko.steering.bulk import ItemResult


def list_files(
    folder: Path | None, *, sink: str | None, job: str | None, run: str | None, output: Output
) -> None:
    """Show how many intents wait for each sink, and every dead letter with its error. JSON has payloads.

    - `folder`: None: that of the setting `spool_dir`.
    - `sink`, `job`, `run`: only what is of these.
    """
    from piko.spool.intents import look

    waiting: dict[str, int] = {}
    letters: list[DeadLetter] = []
    for path in _files(folder):
        counts, dead = look(path, job_id=job, run_id=run)
        for name, count in counts.items():
            if sink in (None, name):
                waiting[name] = waiting.get(name, 0) + count
        letters.extend(item for item in dead if sink in (None, item.sink))
    if output.is_document:
        show_document(_answer(waiting, letters), output)
        return
    for name, count in sorted(waiting.items()):
        typer.echo(f"{count} waiting for {name}")
    for item in letters:
        key, job_id, run_id = (excerpt(str(each), limit=200) for each in item.names)
        error, name = first_line(item.error, length=200), item.letter_id
        typer.echo(f"{name}  {item.sink}  {item.died_at}  job {job_id}  run {run_id}  key {key}  {error}")
    if not waiting and not letters:
        asked = {"sink": sink, "job": job, "run": run}
        of = "".join(f" of {what} {of!r}" for what, of in asked.items() if of is not None)
        typer.echo(f"the spool holds nothing{of}" if of else "the spool is empty")


def change(
    folder: Path | None,
    verb: LetterVerb,
    letters: Sequence[str],
    *,
    sink: str | None,
    job: str | None,
    run: str | None,
    dry_run: bool,
) -> list[ItemResult]:
    """Replay or drop dead letters; those. Raises `SpoolError`: one is not there, or its file is in use.

    - `letters`: which; none: all that `sink`, `job` and `run` leave.
    - `dry_run`: only say which.
    """
    from piko.spool.intents import SpoolFile, look

    wanted = set(letters)
    done: list[ItemResult] = []
    for path in _files(folder):
        _, dead = look(path, job_id=job, run_id=run)
        found = [
            item for item in dead if sink in (None, item.sink) and (not letters or item.letter_id in wanted)
        ]
        chosen = [item.letter_id for item in found]
        wanted -= set(chosen)
        done += map(_result, found)
        if not chosen or dry_run:
            continue
        file = SpoolFile(path)
        try:
            (file.replay if verb is LetterVerb.REPLAY else file.drop)(chosen)
        finally:
            file.leave()  # even if it is empty: who takes it over strikes its letters off the list
    if wanted:
        raise SpoolError(f"no dead letter {', '.join(sorted(wanted))}; `piko spool list` shows them")
    return done


def _result(letter: DeadLetter) -> ItemResult:
    from piko.steering.bulk import ItemResult

    _, job_id, run_id = letter.names
    return ItemResult(job_id=str(job_id), run_id=str(run_id), letter_id=letter.letter_id, result="changed")


def _answer(waiting: Mapping[str, int], letters: Sequence[DeadLetter]) -> dict[str, object]:
    dead = []
    for item in letters:
        key, job_id, run_id = item.names
        whose = {
            "letter_id": item.letter_id,
            "sink": item.sink,
            "job_id": job_id,
            "run_id": run_id,
            "key": key,
        }
        try:
            intent: object = json.loads(item.body)
        except ValueError:
            intent = item.body
        dead.append({**whose, "died_at": item.died_at, "error": item.error, "intent": intent})
    return {"waiting": waiting, "dead_letters": dead}


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
