"""How many processors this process may use."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_processors(*, quota: Path = _QUOTA) -> int:
    """The processors in this process's affinity mask, capped by the container's CPU limit."""
    affinity = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return max(1, min(affinity, _limit(quota) or affinity))


def _limit(quota: Path) -> int | None:
    try:
        allowed, period = quota.read_text().split()
    except (OSError, ValueError):
        return None
    return None if allowed == "max" else math.ceil(int(allowed) / int(period))
