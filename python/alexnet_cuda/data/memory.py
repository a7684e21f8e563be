"""How much memory a cache may take."""

from __future__ import annotations

import os
from pathlib import Path

#: A cache takes at most this much unless told otherwise.
MAX_CACHE_BYTES = 2 << 30
_SHARE = 4


def available_bytes() -> int:
    """Memory that can be had without swapping: of the machine, and of the control group if that has a limit."""
    machine = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                machine = int(line.split()[1]) * 1024
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text(encoding="ascii"))
        return max(0, min(machine, limit - int((group / "memory.current").read_text(encoding="ascii"))))
    except (OSError, ValueError):  # no /proc, no control group, or its limit is the word "max"
        return machine


def default_cache_bytes() -> int:
    """A quarter of the available memory, at most `MAX_CACHE_BYTES`."""
    return min(MAX_CACHE_BYTES, available_bytes() // _SHARE)
