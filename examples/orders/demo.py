"""`make demo`: `piko dev` runs a copy of this folder, an hour behind, until it has caught up.

Nothing is simulated: the process is the one that a person starts, the watermark is set back with the
statement that a person would use, and the sums are compared from outside. It ends by itself, with a message
and exit code 1 if the sums of shop and warehouse differ, or if nothing has moved for some minutes.
`demo.py MINUTES` starts that many minutes behind.
"""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from shop import orders_between
from warehouse import loaded

HERE = Path(__file__).parent
COPY = HERE / ".piko" / "demo"
DATABASE = COPY / ".piko" / "piko.db"
WAREHOUSE = COPY / "warehouse.db"
WINDOW = timedelta(seconds=10)
PATIENCE_S = 300.0
"""How long nothing may move. On a busy machine a process may import for minutes before it writes anything."""

SET_BACK = "UPDATE scheduled_job SET last_data_time = ?, version = version + 1 WHERE job_id = 'sync_orders'"
HOW_FAR = "SELECT last_data_time FROM scheduled_job WHERE job_id = 'sync_orders'"
RUNS = """SELECT count(DISTINCT window_start), count(*) FROM job_run
          WHERE job_id = 'sync_orders' AND state = 'SUCCESS' AND window_start >= ? AND window_end <= ?
          AND claimed_at >= ?"""

console = Console(highlight=False, soft_wrap=True)


class DemoError(Exception):
    """The demonstration did not show what it should."""


def main(behind: timedelta) -> int:
    shutil.rmtree(COPY, ignore_errors=True)
    shutil.copytree(HERE, COPY, ignore=shutil.ignore_patterns(".piko", "warehouse.db*", "__pycache__"))
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        console.print(f"piko dev, on a copy of {shown(HERE)}: two jobs, an embedded database, no server")
        process = subprocess.Popen(
            [sys.executable, "-m", "piko", "dev", str(COPY)], stdout=log, stderr=subprocess.STDOUT
        )
        try:
            start, end, since = fall_behind(process, behind)
            catch_up(process, start, end, since=since)
            code = stop(process)
            compare(start, end, since=since)
        except DemoError as error:
            log.seek(0)
            output = "".join(log.readlines()[-20:]) or "piko dev has printed nothing\n"
            console.print(f"\n{output}\n[bold red]demo failed:[/] {error}")
            return 1
        except KeyboardInterrupt:
            console.print("interrupted")
            return 130
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if code != 0:
        console.print(f"[bold red]demo failed:[/] piko dev ended with {code}, expected 0")
        return 1
    console.print(f"Next: .venv/bin/piko dev {shown(HERE)}   (and edit schedules.yaml while it runs)")
    return 0


def fall_behind(process: subprocess.Popen[bytes], behind: timedelta) -> tuple[datetime, datetime, datetime]:
    """Set the watermark of `sync_orders` back; the start and end of what has to run, and when that was."""
    wait_until(
        lambda: schedule_is_there(process),
        "piko dev to mirror schedules.yaml into the database",
        moved=files_written,
    )
    now = datetime.now(UTC)
    end = datetime.fromtimestamp(now.timestamp() // WINDOW.total_seconds() * WINDOW.total_seconds(), UTC)
    start = end - behind
    statement = SET_BACK.replace("?", f"'{start:%Y-%m-%d %H:%M:%S}'")
    console.print(
        f"SQL sets the job {behind.total_seconds() / 60:.0f} minutes back:\n  [cyan]{statement};[/]"
    )
    with closing(sqlite3.connect(DATABASE, timeout=10)) as connection, connection:
        connection.execute(statement)
    return start, end, datetime.now(UTC)


def catch_up(process: subprocess.Popen[bytes], start: datetime, end: datetime, *, since: datetime) -> None:
    """Watch the windows of `[start, end)` run."""
    windows = (end - start) // WINDOW
    columns = (
        TextColumn("sync_orders"),
        BarColumn(40),
        MofNCompleteColumn(),
        TextColumn("windows  {task.fields[totals]}"),
    )
    reported = 0
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=windows, totals="")

        def done() -> bool:
            nonlocal reported
            alive(process)
            number, _ = runs(start, end, since=since)
            orders, cents = loaded(WAREHOUSE, start, start + number * WINDOW)
            text = f"{orders:,} orders, {cents / 100:,.2f}"
            progress.update(bar, completed=number, totals=text)
            if not console.is_terminal and number * 5 // windows > reported:
                reported = number * 5 // windows
                console.print(f"  {number:>3} of {windows} windows done, {text} in the warehouse")
            return number >= windows

        wait_until(done, f"{windows} windows to run", moved=lambda: runs(start, end, since=since)[0])


def compare(start: datetime, end: datetime, *, since: datetime) -> None:
    """Add up the shop and the warehouse separately."""
    windows, attempts = runs(start, end, since=since)
    source = list(orders_between(start, end))
    expected = len(source), sum(order.cents for order in source)
    found = loaded(WAREHOUSE, start, end)
    if found != expected:
        raise DemoError(
            f"the warehouse has {totals(found)} from {start} to {end}, the shop has {totals(expected)}"
        )
    if attempts != windows:
        raise DemoError(f"{windows} windows were run {attempts} times; expected each once")
    console.print(
        f"[bold green]{windows} windows, each run once: {totals(found)} in the warehouse = in the shop[/]"
    )


def stop(process: subprocess.Popen[bytes]) -> int:
    process.send_signal(signal.SIGINT)
    wait_until(lambda: process.poll() is not None, "piko dev to end after Ctrl-C", moved=files_written)
    return process.wait()


def schedule_is_there(process: subprocess.Popen[bytes]) -> bool:
    alive(process)
    with suppress(sqlite3.OperationalError), closing(connect()) as connection:  # made while we look
        return connection.execute(HOW_FAR).fetchone() is not None
    return False


def runs(start: datetime, end: datetime, *, since: datetime) -> tuple[int, int]:
    """How many windows were run since then, and by how many runs."""
    bounds = [f"{moment:%Y-%m-%d %H:%M:%S.%f}" for moment in (start, end, since)]
    with closing(connect()) as connection:
        windows, attempts = connection.execute(RUNS, bounds).fetchone()
    return windows, attempts


def connect() -> sqlite3.Connection:
    return sqlite3.connect(f"file:{DATABASE}?mode=ro", uri=True, timeout=10)


def alive(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        raise DemoError(f"piko dev ended with {process.returncode} in the middle, see above")


def files_written() -> object:
    """Changes whenever piko dev writes to the folder of its data."""
    found: list[tuple[Path, int, int]] = []
    for path in sorted((COPY / ".piko").rglob("*")):
        with suppress(FileNotFoundError):  # removed while we look
            found.append((path, path.stat().st_size, path.stat().st_mtime_ns))
    return found


def wait_until(condition: Callable[[], bool], what: str, *, moved: Callable[[], object]) -> None:
    """Until `condition` holds. Raises `DemoError` when what `moved` returns has not changed for a while."""
    before, since = moved(), time.monotonic()
    while not condition():
        now = moved()
        if now != before:
            before, since = now, time.monotonic()
        elif time.monotonic() - since > PATIENCE_S:
            raise DemoError(
                f"waited for {what}; nothing has moved for {PATIENCE_S:g} s, see the end of its output above"
            )
        time.sleep(0.1)


def totals(sums: tuple[int, int]) -> str:
    return f"{sums[0]:,} orders, {sums[1] / 100:,.2f}"


def shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


if __name__ == "__main__":
    raise SystemExit(main(timedelta(minutes=int(sys.argv[1]) if sys.argv[1:] else 60)))
