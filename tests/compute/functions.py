"""What the tests have computed. Each must be importable by a worker process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path


def square(number: int) -> int:
    return number * number


def busy_for(seconds: float) -> int:
    """Busy in code that nobody can interrupt; returns the process that was."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return os.getpid()


def once_there(file: str | None) -> None:
    """Done once `file` is there; at once without one."""
    while file is not None and not Path(file).exists():
        time.sleep(0.01)


def with_another(folder: str) -> int:
    """Returns, which process this is, once another one is in here, too, or has been."""
    (Path(folder) / str(os.getpid())).touch()
    while len(list(Path(folder).iterdir())) < 2:
        time.sleep(0.01)
    return os.getpid()


def with_two_others(folder: str) -> int:
    """Returns, which process this is, once two other ones are in here, too, or have been."""
    (Path(folder) / str(os.getpid())).touch()
    while len(list(Path(folder).iterdir())) < 3:
        time.sleep(0.01)
    return os.getpid()


def process_of(_: object) -> int:
    return os.getpid()


def note_and_hang(file: str) -> None:
    """Say which process this is, and never return."""
    path = Path(file)
    path.with_suffix(".new").write_text(str(os.getpid()))
    path.with_suffix(".new").rename(path)
    threading.Event().wait()


def hang_at_seven(number: int) -> int:
    if number == 7:
        threading.Event().wait()
    return number


def die_at_thirteen(number: int) -> int:
    if number == 13:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die_once(flag: str) -> int:
    """Killed the first time, fine the second: as when the kernel took the wrong process."""
    if not Path(flag).exists():
        Path(flag).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def leave_a_child_and_die(_: object) -> None:
    """The child holds on to everything that it inherited."""
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], close_fds=False)
    os.kill(os.getpid(), signal.SIGKILL)


def fail_at_five(number: int) -> int:
    if number == 5:
        raise ValueError("five is not wanted")
    return number


def leave(_: object) -> None:
    sys.exit(3)


class StubbornError(Exception):
    """An exception that can be pickled but not loaded."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{text} {code}")


def be_stubborn(_: object) -> None:
    raise StubbornError(7, "no")


def give_a_lock(_: object) -> object:
    return threading.Lock()


@dataclass(frozen=True)
class Point:
    x: int
    y: int


def mirrored(point: Point) -> Point:
    return Point(point.y, point.x)


async def asynchronous(number: int) -> int:
    return number


def count_letters(text: str) -> dict[str, int]:
    return {letter: text.count(letter) for letter in set(text)}


def added(left: dict[str, int], right: dict[str, int]) -> dict[str, int]:
    return {key: left.get(key, 0) + right.get(key, 0) for key in left.keys() | right.keys()}


def joined(left: str, right: str) -> str:
    return left + right


def slow_at_first(number: int) -> int:
    """The first items take long, the others nothing: order must not depend on it."""
    if number < 3:
        time.sleep(0.05)
    return number


def megabytes(number: int) -> bytes:
    return bytes([number % 256]) * 1_000_000


def memory_mb() -> float:
    """Resident memory of this process."""
    status = Path("/proc/self/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def hungry(number: int) -> int:
    """Item 3 asks for more memory than it is allowed."""
    if number == 3:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        return len(bytearray(2 << 30))
    return number
