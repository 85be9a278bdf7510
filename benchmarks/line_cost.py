"""What a line of a run costs with and without a log that is kept: processor time of its thread.

Turns of 100 lines alternate in one process, so that a busy machine is so for both. What it costs to settle
the log once a second is not in it. `python -m benchmarks.observation --only line` measures it.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

_TURN = 100
_SETTLED_EVERY = 300
"""Lines of a turn, and turns between two times of settling: about a second's lines."""


def compare_lines(*, turns: int) -> None:
    """Processor time of a line, with and without a log that is kept, of two lengths."""
    from piko.observability.bindings import of_run
    from piko.observability.logs import configure_logging, get_logger
    from piko.observability.run_log import RunLog

    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        configure_logging(log_format="json", stream=nowhere)
        log = get_logger("benchmark")
        for length in (100, 800):
            text = "x" * length
            kept = RunLog(job_id="talkative", run_id="one", changed=lambda _: None)
            costs: dict[str, list[float]] = {"off": [], "all": []}
            for turn in range(turns):
                for capture in sorted(costs, reverse=turn % 2 == 0):
                    with of_run(
                        job_id="talkative", run_id="one", attempt=1, log=kept if capture == "all" else None
                    ):
                        begin = time.thread_time_ns()
                        for number in range(_TURN):
                            log.info("line", number=number, text=text)
                        costs[capture].append((time.thread_time_ns() - begin) / _TURN / 1000)
                if turn % _SETTLED_EVERY == 0:
                    kept.settle()
            for what, of in (("median", statistics.median), ("cheapest tenth", _tenth)):
                off, kept_us = of(costs["off"]), of(costs["all"])
                print(
                    f"a line of {length} characters, {what}: off {off:.2f} µs, all {kept_us:.2f} µs"
                    f" ({kept_us / off:.3f})",
                    flush=True,
                )


def _tenth(costs: Sequence[float]) -> float:
    return sorted(costs)[len(costs) // 10]
