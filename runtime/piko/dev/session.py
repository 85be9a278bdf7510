"""One session of `piko dev`, from the folder to Ctrl-C."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry
from rich.console import Console

from piko.app import PikoApp
from piko.background.waiting import happens
from piko.clock import SystemClock
from piko.dev.application import FailedLoadError, code_stamps, load_app, reload_app, stamps_of_loaded
from piko.dev.board import Board
from piko.dev.files import Reading, ResourceFiles
from piko.dev.journal import Entry, Journal
from piko.dev.mirror import FolderMirror
from piko.dev.place import DevDatabase, check_folder, hold_place
from piko.dev.wall import WallClock
from piko.errors import DatabaseUnavailableError, SettingsError
from piko.event_loop import run_to_end
from piko.observability.logs import Logging, configure_logging
from piko.observability.printed import prints_as_events
from piko.reader_zone import reader_zone
from piko.replica.running import RunningReplica
from piko.serving.listening import listen
from piko.settings import Settings, load_settings
from piko.signals import StopSignals, leave
from piko.store.engine import Database, open_database
from piko.store.schema import migrate
from piko.web.options import web_settings
from piko.web.server import serving_web

_LOOK_S = 0.25


def run_folder(folder: Path, *, console: Console) -> None:
    """Run the jobs of `folder` until SIGTERM or Ctrl-C; its data is kept for the next start.

    Raises `PikoError` if it cannot start.
    """
    path = check_folder(folder)
    sys.dont_write_bytecode = True  # two saves within a second would load the first one's bytecode
    files = ResourceFiles(path)
    reading = files.first()
    stamps = code_stamps(path)
    app = load_app(path)
    code = stamps_of_loaded(path, stamps)
    with hold_place(path) as place, StopSignals(last_words=lambda: _last_words(console)) as signals:
        settings = load_settings(
            directory=path,
            mysql_dsn=place.dsn,
            leader_enabled=False,  # there are no other replicas, so it acts at once
            heartbeat_interval_s=1.0,  # and soon notices the runs of a predecessor that was killed
        )
        run_to_end(
            _Session(
                folder=folder,
                app=app,
                code=code,
                place=place,
                settings=settings,
                console=console,
                signals=signals,
            ).run(files, reading)
        )


def _last_words(console: Console) -> str:
    shown = "\x1b[?25h" if console.is_terminal else ""  # the table has hidden the cursor
    return f"{shown}runs in progress count as LOST, and are retried if attempts are left"


class _Session:
    def __init__(
        self,
        *,
        folder: Path,
        app: PikoApp,
        code: Mapping[str, int],
        place: DevDatabase,
        settings: Settings,
        console: Console,
        signals: StopSignals,
    ) -> None:
        self._folder = folder
        self._path = folder.absolute()
        self._app = app
        self._place = place
        self._settings = settings
        self._clock = SystemClock()
        self._wall = WallClock(clock=self._clock, zone=reader_zone())
        self._board = Board(console=console, wall=self._wall)
        self._signals = signals
        self._problems: Sequence[str] = ()
        self._reasons: Sequence[str] = ()
        self._code = code
        self._tried: frozenset[Path] = frozenset()
        """Files that the last load got to, where it failed."""

    async def run(self, files: ResourceFiles, reading: Reading) -> None:
        await migrate.upgrade(self._place.dsn)
        database = open_database(self._place.dsn, config_keys=self._settings.config_keys)
        with self._board, prints_as_events(self._configure_logging()):
            self._greet()
            mirror = FolderMirror(database=database)
            try:
                await self._mirror(mirror, reading)
                left = 0
                async with self._page():
                    while not self._signals.heard:
                        left += await self._run_app(files, mirror, database)
            finally:
                await database.close()
            self._board.print(
                f"stopped; data is kept in {self._place.database}, and the next start continues from there"
            )
        if left:
            self._board.print(f"handlers that ignored their cancellation: {left}; they end with this process")
            leave(0)

    @asynccontextmanager
    async def _page(self) -> AsyncIterator[None]:
        """Serve the page beside the jobs; another port is as good where that of the settings is taken."""
        with _listening(self._settings) as listening:
            host, port = listening.getsockname()[:2]
            async with serving_web(
                web_settings(self._settings), listening, clock=self._clock, registry=CollectorRegistry()
            ):
                shown = f"[{host}]" if ":" in host else host
                self._board.print(f"page: http://{shown}:{port}/ shows jobs, runs and what they log")
                yield

    async def _run_app(self, files: ResourceFiles, mirror: FolderMirror, database: Database) -> int:
        """Run the app until the stop, or until its code has changed; how many handlers go on."""
        next_app = app = self._app
        async with app.running(self._settings) as replica:
            journal = Journal(
                database=database,
                replica=replica,
                job_ids=[job.job_id for job in app.registry],
                wall=self._wall,
                since=self._clock.now(),
            )
            next_app = await self._look_on(files, mirror, journal, replica)
            if self._signals.heard:
                self._board.print("stopping: waiting for runs in progress; Ctrl-C again ends them at once")
        await self._report(journal, replica)
        if next_app is not app:
            self._app = next_app
            jobs = ", ".join(sorted(job.job_id for job in next_app.registry)) or "none"
            self._board.show_entry(Entry(subject="code", text=f"loaded, jobs: {jobs}", tone="green"))
        return replica.abandoned

    async def _look_on(
        self, files: ResourceFiles, mirror: FolderMirror, journal: Journal, replica: RunningReplica
    ) -> PikoApp:
        """Until the stop, or until new code is there; the app that is to run next."""
        while not self._signals.heard:
            reading = await asyncio.to_thread(files.look)
            if reading is not None:
                await self._mirror(mirror, reading)
            if (changed := await asyncio.to_thread(self._changed_app)) is not None:
                return changed
            self._report_readiness(replica)
            await self._report(journal, replica)
            await happens(self._signals.wait(), within_s=_LOOK_S)
        return self._app

    async def _mirror(self, mirror: FolderMirror, reading: Reading) -> None:
        done, refused = await mirror.apply(reading)
        for line in done:
            self._board.show_entry(Entry(subject="folder", text=line))
        problems = [*reading.problems, *refused]
        for problem in problems:
            if problem not in self._problems:
                self._board.show_entry(Entry(subject="folder", text=problem, tone="red"))
        if reading.problems and problems != self._problems:
            self._board.show_entry(
                Entry(subject="folder", text="the last good version stays in force", tone="red")
            )
        elif self._problems and not problems:
            self._board.show_entry(
                Entry(subject="folder", text="all resource files are valid again", tone="green")
            )
        self._problems = problems

    async def _report(self, journal: Journal, replica: RunningReplica) -> None:
        try:
            entries, lines = await journal.look()
        except DatabaseUnavailableError as error:
            self._board.show_entry(Entry(subject="database", text=str(error), tone="red"))
            return
        for entry in entries:
            self._board.show_entry(entry)
        if replica.rows_read:
            trouble = [*self._problems, *replica.readiness.reasons]
            self._board.show(lines, state=trouble[0] if trouble else f"{self._app.name}: Ctrl-C stops")

    def _report_readiness(self, replica: RunningReplica) -> None:
        reasons = replica.readiness.reasons
        if replica.rows_read and reasons != self._reasons:
            for reason in reasons:
                self._board.show_entry(Entry(subject="runtime", text=reason, tone="red"))
        self._reasons = reasons

    def _changed_app(self) -> PikoApp | None:
        """The app as its files are now; None where they have not changed, or cannot be loaded."""
        stamps = code_stamps(self._path, more=self._tried)
        changed = sorted(name for name in {*stamps, *self._code} if stamps.get(name) != self._code.get(name))
        if not changed:
            return None
        self._code = stamps
        names = ", ".join(changed)
        try:
            app = reload_app(self._path)
        except FailedLoadError as error:
            self._tried = error.files
            self._code = stamps_of_loaded(self._path, stamps, more=error.files)
            self._board.show_entry(Entry(subject="code", text=str(error), tone="red"))
            self._board.show_entry(
                Entry(subject="code", text="the last good version stays in force", tone="red")
            )
            return None
        self._tried = frozenset()
        self._code = stamps_of_loaded(self._path, stamps)
        text = f"{names} changed: waiting for runs in progress, then the new code runs"
        self._board.show_entry(Entry(subject="code", text=text, tone="cyan"))
        return app

    def _greet(self) -> None:
        jobs = ", ".join(sorted(job.job_id for job in self._app.registry)) or "none"
        age = "new" if self._place.is_new else "continues where it stopped"
        self._board.print(
            f"piko dev: app {self._app.name!r} of {self._folder}, jobs: {jobs}\n"
            f"database: {self._place.database} ({age}); times are of {self._wall.zone_name}\n"
            "changes to YAML and Python files take effect while this runs; Ctrl-C stops"
        )

    def _configure_logging(self) -> Logging:
        chosen = configure_logging(log_format="text", debug=self._settings.debug)
        if not self._settings.debug:
            # The board shows what the runtime does; the log shows the output of jobs, and errors.
            logging.getLogger("piko").setLevel(logging.ERROR)
            logging.getLogger("piko.execution.executor.ends").setLevel(logging.CRITICAL)
        return chosen


def _listening(settings: Settings) -> socket.socket:
    try:
        return listen(settings.web_host, settings.web_port, setting="web")
    except SettingsError:
        return listen(settings.web_host, 0, setting="web")
