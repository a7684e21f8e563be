"""What operations and steps have in common: setting contenders up, and what becomes of those that fail."""

from __future__ import annotations

import contextlib
import gc
import math
import sys
from collections.abc import Callable, Collection
from contextlib import ExitStack
from typing import Any

from .results import Record


class Unavailable(Exception):
    """A library is not installed; the message says how to get it."""


class Unsupported(Exception):
    """A library cannot do this."""


class Wrong(Exception):
    """A contender's results are not those of the operation or network."""


class DeviceLost(RuntimeError):
    """The device answers nothing any more: a kernel failed, and only a new process can go on."""

    def __init__(self, contender: str, reason: str) -> None:
        super().__init__(f"{contender}: {reason}")
        self.contender, self.reason = contender, reason


_STATUSES = {Unavailable: "unavailable", Unsupported: "unsupported", Wrong: "wrong"}
Make = Callable[[Record, ExitStack], Any]  # adds to the contender's record, leaves what it opens to the stack


def message_of(error: Exception) -> str:
    """What is kept of an error."""
    return f"{type(error).__name__}: {error}"[:500]


class Contest:
    """The contenders of one measurement: what is known of each, and of those that are set up what `enter` made.

    Contenders that are `excluded` took the device with them before. `stage` is told which one is at work. After `end`,
    by the device's clock of the host, none is begun.
    """

    def __init__(
        self,
        device: Any,
        stage: Callable[[str], None],
        excluded: Collection[str] = (),
        end: float = math.inf,
    ) -> None:
        self.device, self.stage, self.excluded, self.end = device, stage, excluded, end
        self.records: dict[str, Record] = {}
        self.ready: dict[str, Any] = {}
        self._cleanups: dict[str, ExitStack] = {}

    def enter(self, name: str, family: str, make: Make) -> bool:
        """Set a contender up; whether it runs.

        Raises
        ------
        DeviceLost
            It failed and the device with it.
        """
        if name in self.excluded:
            return False
        record = self.records.setdefault(name, {})
        record |= {"family": family, "status": "ok"}
        if self.device.now() >= self.end:
            record |= {"status": "left out", "message": "no time was left"}
            return False
        self.stage(name)
        cleanup = ExitStack()
        try:
            self.ready[name], self._cleanups[name] = make(record, cleanup), cleanup
            return True
        except tuple(_STATUSES) as error:
            record |= {"status": _STATUSES[type(error)], "message": str(error)}
        except Exception as error:  # whatever a library raises: the others go on
            record |= {"status": "failed", "message": message_of(error)}
            try:
                self.device.synchronize()
            except Exception as lost:
                raise DeviceLost(name, message_of(error)) from lost
        _close(cleanup)
        return False

    def leave(self, *names: str) -> None:
        """Give back what contenders opened; all of them where none is named."""
        self.device.synchronize()
        for name in names or list(self.ready):
            del self.ready[name]
            _close(self._cleanups.pop(name))


def _close(cleanup: ExitStack) -> None:
    with contextlib.suppress(Exception):  # complaints are worth no measurement
        cleanup.close()


def tidy(device: Any) -> None:
    """Give the memory back that a contender left behind."""
    gc.collect()  # a network and its compiled functions refer to each other
    if "torch" in sys.modules:
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    device.release()
