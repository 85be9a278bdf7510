"""The logs of the runs of this process, on their way to the database.

Once a second what the runs have logged and how far they are is written, many runs in one statement. It is
apart from outcomes on purpose: a log is never the reason that an outcome waits, and a run that says nothing
costs no statement. While the database is unavailable, runs keep at most the first and the last lines in
memory; of runs that have ended, the latest `_MOST_ENDED` are kept, and what is dropped is logged. What a
process that is killed has not written yet, at most about a second, is lost.

A chatty run writes its 64 KiB each second, so a round writes at most `_BYTES` and leaves the others to the
next one: a thousand chatty runs make their logs later, not the database slower.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Literal

from piko.background.periodic import Transient, repeat
from piko.clock import Clock
from piko.core.types import RunState
from piko.errors import DatabaseUnavailableError
from piko.model.run_logs import RunAccount
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.observability.run_log import RunLog
from piko.store.isolation import REFUSALS, refusal_text
from piko.store.run_logs import RunLogStore

LogCapture = Literal["all", "errors", "off"]
"""Whose logs are kept: those of all runs, of runs that did not succeed, or none."""

_EVERY_S = 1.0
_RUNS = 200
_BYTES = 4 * 1024 * 1024
_MOST_ENDED = 1000

log = get_logger(__name__)


class RunLogs:
    """Opens a log for each run, and writes what is in them.

    `capture`: whose lines are kept. Progress is kept in any case.
    """

    name = "run_logs"

    def __init__(self, *, store: RunLogStore, clock: Clock, metrics: Metrics, capture: LogCapture) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._capture = capture
        self._lock = threading.Lock()
        self._changed: dict[str, RunLog] = {}
        """Logs with something to write, the one that waits longest first. Threads add to it."""
        self._ended: dict[str, RunLog] = {}
        """Those of them whose runs have ended."""

    @property
    def keeps_lines(self) -> bool:
        return self._capture != "off"

    def open(self, *, job_id: str, run_id: str) -> RunLog:
        """The log of a run that begins."""
        return RunLog(job_id=job_id, run_id=run_id, changed=self._note)

    def end(self, run: RunLog, state: RunState) -> None:
        """Close the log of a run that has ended in `state`."""
        run.close()
        if not run.said_anything:
            return
        if self._capture == "errors" and state is RunState.SUCCESS:
            run.forget_lines()
        with self._lock:
            self._changed[run.run_id] = self._ended[run.run_id] = run
            dropped = list(self._ended)[: max(len(self._ended) - _MOST_ENDED, 0)]
            for run_id in dropped:
                del self._ended[run_id]
                self._changed.pop(run_id, None)
        if dropped:
            log.error(
                "run_logs_dropped", runs=len(dropped), first=dropped[0], why="too many wait to be written"
            )

    async def run(self) -> None:
        """Write logs until cancelled."""
        away = Transient(errors=(DatabaseUnavailableError,), report=self._wait_for_the_database)
        await repeat(self.write, pause_s=_EVERY_S, transient=[away])

    async def write(self) -> None:
        """Write what runs have said since the last time. Raises `DatabaseUnavailableError`.

        What they say while it is written waits for the next time: a run that never pauses would have its log
        written without a pause, too.
        """
        due = len(self._changed)
        while batch := self._next_batch(min(due, _RUNS)):
            due -= len(batch)
            accounts = [account for run in batch if (account := self._account(run)) is not None]
            written = False
            try:
                if accounts:
                    await self._write(accounts)
                written = True
            finally:
                if not written:  # each log still holds all that is kept of it
                    with self._lock:
                        self._changed = {run.run_id: run for run in batch} | self._changed
            with self._lock:
                for run in batch:
                    if run.run_id not in self._changed:
                        self._ended.pop(run.run_id, None)
            if sum(map(_size, accounts)) >= _BYTES:
                return

    def _note(self, run: RunLog) -> None:
        with self._lock:
            self._changed[run.run_id] = run

    def _next_batch(self, most: int) -> list[RunLog]:
        with self._lock:
            chosen = list(islice(self._changed.values(), most))
            for run in chosen:
                del self._changed[run.run_id]
        return chosen

    def _account(self, run: RunLog) -> RunAccount | None:
        """What is to be written of `run`; None: nothing of it is to be seen, or not yet."""
        waits = self._capture == "errors" and not run.closed
        kept, progress = run.settle(), run.progress
        if progress is None and (kept is None or waits):
            return None
        account = RunAccount(
            run_id=run.run_id,
            job_id=run.job_id,
            progress_done=None if progress is None else progress.done,
            progress_total=None if progress is None else progress.total,
            progress_text=None if progress is None else run.shown(progress.text),
        )
        if kept is None or waits:
            return account
        return replace(account, head=kept.head, tail=kept.tail, line_count=kept.lines, left_out=kept.left_out)

    async def _write(self, accounts: Sequence[RunAccount]) -> None:
        """Write `accounts`; one that the database refuses is dropped, and the others are written."""
        try:
            await self._store.write(accounts, now=self._clock.now())
        except REFUSALS as error:
            if len(accounts) == 1:
                log.error("run_log_refused", run_id=accounts[0].run_id, why=refusal_text(error))
                return
            for account in accounts:
                await self._write([account])

    def _wait_for_the_database(self, error: Exception) -> None:
        self._metrics.db_errors.labels(self.name).inc()
        log.warning("run_logs_wait", runs=len(self._changed), error=str(error))


def _size(account: RunAccount) -> int:
    return len(account.head or "") + len(account.tail or "")
