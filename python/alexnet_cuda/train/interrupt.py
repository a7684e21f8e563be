"""Stopping on request: a signal sets a flag, and the run ends in good order after the step it is at."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

# Sent to many processes of a job, or several times: what comes after the first must not cut the saving short.
_REPEATED = (signal.SIGHUP, signal.SIGUSR1)


def exit_code(number: int) -> int:
    """What a command ends with after a signal has stopped it in good order.

    75, sysexits' EX_TEMPFAIL, after SIGUSR1, by which schedulers announce the end of a job's time: run it again. 128
    and the signal's number after the others, as shells and schedulers write "ended by that signal".
    """
    return os.EX_TEMPFAIL if number == signal.SIGUSR1 else 128 + number


class StopRequest:
    """While it is entered, SIGINT (Ctrl-C), SIGTERM, SIGHUP and SIGUSR1 only set `signal`; a second one acts as before.

    Where SIGHUP or SIGUSR1 is ignored (nohup) it stays ignored. After any of them these two are ignored too: a terminal
    that closes may send several, by the shell and by the system, and a scheduler one to each process of a job.

    Attributes
    ----------
    signal
        The signal that came, None while none did.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        for kind, handler in self._before.items():
            signal.signal(kind, signal.SIG_IGN if kind in _REPEATED else handler)

    def __enter__(self) -> StopRequest:
        # Python delivers signals to the main thread only, and lets no other set handlers.
        if threading.current_thread() is threading.main_thread():
            for kind in (signal.SIGINT, signal.SIGTERM, *_REPEATED):
                if kind not in _REPEATED or signal.getsignal(kind) != signal.SIG_IGN:
                    self._before[kind] = signal.signal(kind, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
