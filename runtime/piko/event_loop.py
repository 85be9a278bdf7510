"""The event loop of `app.run()`: it ends when the replica has ended, and no exception in user code ends it.

asyncio propagates `SystemExit` and `KeyboardInterrupt` from a task or a callback through the loop, which ends
it at once. A handler that calls `sys.exit()` in a task of its own would end the replica and abandon the runs
of all other jobs. Here the loop continues, and the code that awaits that task still gets the exception.
Signals are not exceptions here; they have handlers of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from piko.observability.logs import get_logger
from piko.text import error_text

log = get_logger(__name__)


def run_to_end(main: Coroutine[Any, Any, None]) -> None:
    """`asyncio.run`, whatever somebody's task or callback raises. Raises what `main` raises."""
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        task = loop.create_task(main, name="main")
        while True:
            try:
                return loop.run_until_complete(task)
            except (KeyboardInterrupt, SystemExit, RuntimeError) as error:  # RuntimeError: `loop.stop()`
                if task.done():
                    raise
                log.error(
                    "event_loop_goes_on",
                    error=error_text(error),
                    remedy="a handler ends by returning or raising, and does not end the process",
                    exc_info=error,
                )
