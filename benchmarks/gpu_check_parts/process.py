"""A command with a time limit that nothing it starts can outlive, and the end of what it printed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TAIL = 4000  # characters of a command's output that are kept
GRACE = 5.0  # seconds between asking to end and ending


@dataclass(frozen=True)
class Done:
    """A command that ended: exit status, seconds, whether its time ran out, the end of its output."""

    status: int
    seconds: float
    timed_out: bool
    tail: str


def run(command: Sequence[str], environment: Mapping[str, str], limit: float, folder: Path, log: Path) -> Done:
    """Run a command in `folder` for at most `limit` seconds; its output goes to the file `log`.

    A file and not a pipe: a process that cannot be ended (it waits for a kernel that hangs) must not keep the reader
    waiting.
    """
    start, timed_out = time.monotonic(), False
    with open(log, "wb") as output:
        streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": subprocess.STDOUT}
        try:
            process = subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True, **streams)
        except OSError as error:
            return Done(127, time.monotonic() - start, False, f"{command[0]}: {error}")
        try:
            process.wait(max(limit, 0.1))
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:
            _end(process)
    status = process.returncode if process.returncode is not None else -int(signal.SIGKILL)
    tail = log.read_bytes()[-4 * TAIL :].decode(errors="replace")[-TAIL:]
    return Done(status, time.monotonic() - start, timed_out, tail)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the command's whole session; give up where the system cannot."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except (ProcessLookupError, PermissionError):
            break
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
            if number == signal.SIGTERM:
                time.sleep(0.05)  # what the command started goes on; the next signal ends it
    process.poll()
