"""A command with a time limit that nothing it starts can outlive, and the end of what it printed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TAIL = 4000  # characters of a command's output that are kept
GRACE = 5.0  # seconds between asking to end and ending


@dataclass(frozen=True)
class Done:
    """What became of a command: exit status, seconds, whether its time ran out, the end of its output."""

    status: int
    seconds: float
    timed_out: bool
    tail: str


def run(command: Sequence[str], environment: Mapping[str, str], limit: float, folder: Path, log: Path) -> Done:
    """Run a command in `folder` for at most `limit` seconds; its output goes to the file `log`.

    A file and not a pipe: something that the command left behind and that cannot be ended (a process that waits for a
    kernel that hangs) must not keep the reader waiting.
    """
    start = time.monotonic()
    timed_out = False
    with open(log, "wb") as output:
        try:
            process = subprocess.Popen(
                list(command),
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            return Done(127, time.monotonic() - start, False, f"{command[0]}: {error}")
        try:
            process.wait(max(limit, 0.1))
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:
            _end(process)
    status = process.returncode if process.returncode is not None else -int(signal.SIGKILL)
    return Done(status, time.monotonic() - start, timed_out, read_tail(log))


def read_tail(log: Path) -> str:
    """Return the end of a file."""
    with open(log, "rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 4 * TAIL))
        return file.read().decode(errors="replace")[-TAIL:]


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the command's whole session; give up where the system cannot."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except (ProcessLookupError, PermissionError):
            break
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            continue
        if number == signal.SIGTERM:
            time.sleep(0.05)  # what the command started goes on; the next signal ends it
    process.poll()
