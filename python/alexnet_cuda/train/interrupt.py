"""Stopping on request: a signal sets a flag, and the run ends in good order after the step it is at."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class StopRequest:
    """While it is entered, SIGINT (Ctrl-C), SIGTERM and SIGHUP only set `signal`; a second one acts as it did before.

    Where SIGHUP is ignored (nohup) it stays ignored. After any of them a SIGHUP is ignored too: a terminal that closes
    may send several, by the shell and by the system, which must not cut the saving short.

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
            signal.signal(kind, signal.SIG_IGN if kind == signal.SIGHUP else handler)

    def __enter__(self) -> StopRequest:
        # Python delivers signals to the main thread only, and lets no other set handlers.
        if threading.current_thread() is threading.main_thread():
            for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if kind != signal.SIGHUP or signal.getsignal(kind) != signal.SIG_IGN:
                    self._before[kind] = signal.signal(kind, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
