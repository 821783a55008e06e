"""How many processors this process may keep busy."""

import math
import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cpus(quota: Path = _QUOTA) -> int:
    """Processors in the affinity mask, or fewer where the container's CPU quota (cgroup v2) is smaller.

    More threads than that only wait for each other: a runtime left to itself counts the processors of the host.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        limit, period = quota.read_text(encoding="ascii").split()
        return max(1, min(count, math.ceil(int(limit) / int(period))))
    except (OSError, ValueError):  # no cgroup v2, or "max": no limit
        return count
