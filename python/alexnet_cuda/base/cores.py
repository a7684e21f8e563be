"""How many cores this process may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def available_cores(process: Path = Path("/proc/self"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """The cores of the affinity mask, or fewer where a control group has a quota of CPU time; a part counts as whole.

    Parameters
    ----------
    process : Path
        Where the kernel says which groups the process is in.
    groups : Path
        Where control groups are mounted, of version 1 or 2.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *(-(-quota // period) for quota, period in _quotas(process, groups))]))


def _quotas(process: Path, groups: Path) -> Iterator[tuple[int, int]]:
    """CPU time and the period that it may be used up in, microseconds, of each group around the process."""
    try:
        lines = (process / "cgroup").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for _, kinds, path in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        if kinds and "cpu" not in kinds.split(","):
            continue
        mount, files = (groups / "cpu", ("cpu.cfs_quota_us", "cpu.cfs_period_us")) if kinds else (groups, ("cpu.max",))
        inner = PurePosixPath(path.lstrip("/"))
        # A container that sees its own group as the root may still be told the path outside: what is not there is not.
        for group in {mount, mount / inner, *(mount / parent for parent in inner.parents)}:
            try:
                quota, period = " ".join((group / name).read_text() for name in files).split()
                if int(quota) > 0 and int(period) > 0:
                    yield int(quota), int(period)
            except (OSError, ValueError):  # no such group, or "max": without a quota
                continue
