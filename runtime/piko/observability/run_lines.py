"""The two lines that each run has in the log: that it started, and how it ended.

At thousands of runs a second these lines are most of the log, and rendering each through every stage of
logging, and writing it by a call of its own, would be a third of what a run costs. So if they are JSON and
nothing but Piko's own handler looks at them, they are put together here and written once in each turn of the
event loop, before the next line that anything else logs. Otherwise they are events like any other: on a
terminal, with the handler of an error collector, for a failure. What a line says is the same both ways.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii as quoted

from piko.clock import SystemClock
from piko.observability.logs import LineHandler, get_logger, only_handler
from piko.text import instant_text

_now = SystemClock().now


class RunLines:
    """Logs the starts of runs to the logger `name`, and their ends to `name`.ends.

    The ends have a logger of their own, so that a program that shows them in another way can silence it.
    """

    def __init__(self, name: str) -> None:
        self._names = {"run_started": name, "run_finished": f"{name}.ends"}
        self._logs = {event: get_logger(where) for event, where in self._names.items()}
        self._handlers: dict[str, LineHandler | None] = {}
        """Where lines go in this turn of the event loop, as far as it was looked up."""
        self._scheduled_time = (datetime.min.replace(tzinfo=UTC), "")

    def started(
        self,
        *,
        job_id: str,
        run_id: str,
        attempt: int,
        scheduled_time: datetime,
        trace_id: str | None = None,
    ) -> None:
        """The handler of a run is called now."""
        known, text = self._scheduled_time
        if known != scheduled_time:
            text = scheduled_time.isoformat()
            self._scheduled_time = (scheduled_time, text)
        if (handler := self._handler("run_started")) is not None:
            handler.lines.append(
                f'{{"job_id": {quoted(job_id)}, "run_id": {quoted(run_id)}, "attempt": {attempt}, '
                f'"scheduled_time": "{text}", {_of_trace(trace_id)}{self._end("run_started")}'
            )
            return
        self._logs["run_started"].info(
            "run_started",
            job_id=job_id,
            run_id=run_id,
            attempt=attempt,
            scheduled_time=text,
            **_fact_of_trace(trace_id),
        )

    def ended(
        self,
        *,
        job_id: str,
        run_id: str,
        state: str,
        attempt: int,
        duration_s: float,
        trace_id: str | None = None,
    ) -> None:
        """The run ended in `state`, of which nothing else is to be said."""
        duration_s = round(duration_s, 3)
        if (handler := self._handler("run_finished")) is not None:
            handler.lines.append(
                f'{{"job_id": {quoted(job_id)}, "run_id": {quoted(run_id)}, "state": "{state}", '
                f'"attempt": {attempt}, "duration_s": {duration_s!r}, '
                f"{_of_trace(trace_id)}{self._end('run_finished')}"
            )
            return
        self._logs["run_finished"].info(
            "run_finished",
            job_id=job_id,
            run_id=run_id,
            state=state,
            attempt=attempt,
            duration_s=duration_s,
            **_fact_of_trace(trace_id),
        )

    def failed(
        self,
        *,
        job_id: str,
        run_id: str,
        state: str,
        attempt: int,
        duration_s: float,
        error: str | None,
        as_error: bool,
        trace_id: str | None = None,
    ) -> None:
        """The run ended otherwise than it should; the lines of `error` after the first are the traceback."""
        message, _, details = (error or "").partition("\n")
        facts = _fact_of_trace(trace_id)
        if message:
            facts["error"] = message
        if details:
            facts["exception"] = details.rstrip()
        ends = self._logs["run_finished"]
        (ends.error if as_error else ends.info)(
            "run_finished",
            job_id=job_id,
            run_id=run_id,
            state=state,
            attempt=attempt,
            duration_s=round(duration_s, 3),
            **facts,
        )

    def _handler(self, event: str) -> LineHandler | None:
        if event not in self._handlers:
            if not self._handlers:
                asyncio.get_running_loop().call_soon(self._write)
            self._handlers[event] = only_handler(logging.getLogger(self._names[event]), logging.INFO)
        return self._handlers[event]

    def _end(self, event: str) -> str:
        moment, name = instant_text(_now()), self._names[event]
        return f'"event": "{event}", "level": "info", "logger": "{name}", "timestamp": "{moment}"}}\n'

    def _write(self) -> None:
        """The turn is over: write what was said in it."""
        handlers = {handler for handler in self._handlers.values() if handler is not None}
        self._handlers.clear()
        for handler in handlers:
            handler.write_lines()


def _of_trace(trace_id: str | None) -> str:
    """The field of a line that names the trace of its run, as JSON with the comma behind it."""
    return "" if trace_id is None else f'"trace_id": "{trace_id}", '


def _fact_of_trace(trace_id: str | None) -> dict[str, str]:
    return {} if trace_id is None else {"trace_id": trace_id}
