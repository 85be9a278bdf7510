"""The event loop of `app.run()`: it ends when the replica has ended, and no exception in user code ends it.

asyncio propagates `SystemExit` and `KeyboardInterrupt` from a task or a callback through the loop, which ends
it at once. A handler that calls `sys.exit()` in a task of its own would end the replica and abandon the runs
of all other jobs. Here the loop continues, and the code that awaits that task still gets the exception.
Signals are not exceptions here; they have handlers of their own.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

from piko.errors import PikoError
from piko.observability.logs import get_logger
from piko.text import error_text

log = get_logger(__name__)


def check_place() -> None:
    """Raise `PikoError` where `app.run()` cannot work, with what can."""
    within = "within `async with app.running():` the jobs run while the block lasts"
    if threading.current_thread() is not threading.main_thread():
        name = threading.current_thread().name
        raise PikoError(
            f"app.run() was called in thread {name!r}; it needs the main thread, which gets the signals that "
            f"stop it: call it there, or use an event loop of your own in this one: {within}"
        )
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise PikoError(
        "app.run() was called in a running event loop, and it starts one of its own: call it from plain "
        f"code, or stay in this loop: {within}"
    )


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
