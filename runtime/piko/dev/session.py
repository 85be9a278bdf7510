"""One run of `piko dev`, from the folder to Ctrl-C."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

from rich.console import Console

from piko.app import PikoApp
from piko.background.waiting import happens
from piko.clock import SystemClock
from piko.dev.application import code_stamps, load_app
from piko.dev.board import Board
from piko.dev.files import Reading, ResourceFiles
from piko.dev.journal import Entry, Journal
from piko.dev.mirror import FolderMirror
from piko.dev.place import DevDatabase, check_folder, hold_place
from piko.dev.wall import WallClock
from piko.errors import DatabaseUnavailableError
from piko.event_loop import run_to_end
from piko.observability.logs import configure_logging
from piko.replica.running import RunningReplica
from piko.settings import Settings, load_settings
from piko.signals import StopSignals, leave
from piko.store.engine import open_database
from piko.store.schema import migrate

_LOOK_S = 0.25


def run_folder(folder: Path, *, console: Console) -> None:
    """Run the jobs of `folder` until SIGTERM or Ctrl-C; its data stays for the next time.

    Raises `PikoError` for what keeps it from starting.
    """
    path = check_folder(folder)
    files = ResourceFiles(path)
    reading = files.first()
    app = load_app(path)
    with hold_place(path) as place, StopSignals(last_words=lambda: _last_words(console)) as signals:
        settings = load_settings(
            directory=path,
            mysql_dsn=place.dsn,
            leader_enabled=False,  # it is alone, so it acts at once
            heartbeat_interval_s=1.0,  # and sees soon what a predecessor that was killed left behind
        )
        run_to_end(
            _Session(
                folder=folder, app=app, place=place, settings=settings, console=console, signals=signals
            ).run(files, reading)
        )


def _last_words(console: Console) -> str:
    shown = "\x1b[?25h" if console.is_terminal else ""  # the table has hidden the cursor
    return f"{shown}what was going on counts as lost, and runs again where attempts are left"


class _Session:
    def __init__(
        self,
        *,
        folder: Path,
        app: PikoApp,
        place: DevDatabase,
        settings: Settings,
        console: Console,
        signals: StopSignals,
    ) -> None:
        self._folder = folder
        self._app = app
        self._place = place
        self._settings = settings
        self._clock = SystemClock()
        self._wall = WallClock(clock=self._clock, zone=ZoneInfo(settings.timezone))
        self._board = Board(console=console, wall=self._wall)
        self._signals = signals
        self._problems: Sequence[str] = ()
        self._reasons: Sequence[str] = ()
        self._code = code_stamps(folder)

    async def run(self, files: ResourceFiles, reading: Reading) -> None:
        await migrate.upgrade(self._place.dsn)
        database = open_database(self._place.dsn)
        since = self._clock.now()
        with self._board:
            self._greet()
            self._configure_logging()
            mirror = FolderMirror(database=database)
            try:
                await self._mirror(mirror, reading)
                async with self._app.running(self._settings) as replica:
                    journal = Journal(
                        database=database,
                        replica=replica,
                        job_ids=[job.job_id for job in self._app.registry],
                        wall=self._wall,
                        since=since,
                    )
                    await self._look_on(files, mirror, journal, replica)
                    self._board.say("stopping: what runs is waited for; Ctrl-C once more cuts it off")
                await self._tell(journal, replica)
            finally:
                await database.close()
            self._board.say(
                f"stopped; data is kept in {self._place.database}, the next start goes on from there"
            )
        if left := replica.abandoned:
            self._board.say(f"handlers that went on all the same: {left}; they end with this process")
            leave(0)

    async def _look_on(
        self, files: ResourceFiles, mirror: FolderMirror, journal: Journal, replica: RunningReplica
    ) -> None:
        while not self._signals.heard:
            reading = await asyncio.to_thread(files.look)
            if reading is not None:
                await self._mirror(mirror, reading)
            self._tell_code()
            self._tell_readiness(replica)
            await self._tell(journal, replica)
            await happens(self._signals.wait(), within_s=_LOOK_S)

    async def _mirror(self, mirror: FolderMirror, reading: Reading) -> None:
        done, refused = await mirror.apply(reading)
        for line in done:
            self._board.tell(Entry(subject="folder", text=line))
        problems = [*reading.problems, *refused]
        for problem in problems:
            if problem not in self._problems:
                self._board.tell(Entry(subject="folder", text=problem, tone="red"))
        if reading.problems and problems != self._problems:
            self._board.tell(
                Entry(subject="folder", text="what was good before goes on meanwhile", tone="red")
            )
        elif self._problems and not problems:
            self._board.tell(Entry(subject="folder", text="all resource files are good again", tone="green"))
        self._problems = problems

    async def _tell(self, journal: Journal, replica: RunningReplica) -> None:
        try:
            entries, lines = await journal.look()
        except DatabaseUnavailableError as error:
            self._board.tell(Entry(subject="database", text=str(error), tone="red"))
            return
        for entry in entries:
            self._board.tell(entry)
        if replica.rows_read:
            trouble = [*self._problems, *replica.readiness.reasons]
            self._board.show(lines, state=trouble[0] if trouble else f"{self._app.name}: Ctrl-C stops")

    def _tell_readiness(self, replica: RunningReplica) -> None:
        reasons = replica.readiness.reasons
        if replica.rows_read and reasons != self._reasons:
            for reason in reasons:
                self._board.tell(Entry(subject="runtime", text=reason, tone="red"))
        self._reasons = reasons

    def _tell_code(self) -> None:
        stamps = code_stamps(self._folder)
        changed = sorted(name for name in {*stamps, *self._code} if stamps.get(name) != self._code.get(name))
        if changed:
            what = f"{', '.join(changed)} changed: stop and start again to take it"
            self._board.tell(Entry(subject="code", text=what, tone="yellow"))
        self._code = stamps

    def _greet(self) -> None:
        jobs = ", ".join(sorted(job.job_id for job in self._app.registry)) or "none"
        age = "new" if self._place.is_new else "goes on where it stopped"
        self._board.say(
            f"piko dev: app {self._app.name!r} of {self._folder}, jobs: {jobs}\n"
            f"database: {self._place.database} ({age}); times are {self._settings.timezone}\n"
            "edits of the YAML files are taken while this runs; Ctrl-C stops"
        )

    def _configure_logging(self) -> None:
        configure_logging(log_format="text", debug=self._settings.debug)
        if not self._settings.debug:
            # The board tells what the runtime does; the log is left to the jobs, and to what goes wrong.
            logging.getLogger("piko").setLevel(logging.ERROR)
            logging.getLogger("piko.execution.executor.ends").setLevel(logging.CRITICAL)
