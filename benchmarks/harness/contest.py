"""What operations and steps have in common: setting contenders up, and what becomes of those that fail."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, TypeVar

from .results import Record

T = TypeVar("T")


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


def message_of(error: Exception) -> str:
    """What is kept of an error."""
    return f"{type(error).__name__}: {error}"[:500]


def attempt(device: Any, name: str, make: Callable[[ExitStack], T]) -> tuple[T | None, Record, ExitStack]:
    """What `make` sets up, or None; status and message; and what gives back what it opened, if it succeeded.

    Raises
    ------
    DeviceLost
        It failed and the device with it.
    """
    cleanup = ExitStack()
    try:
        return make(cleanup), {"status": "ok"}, cleanup
    except tuple(_STATUSES) as error:
        found = {"status": _STATUSES[type(error)], "message": str(error)}
    except Exception as error:  # whatever a library raises: the others go on
        try:
            device.synchronize()
        except Exception as lost:
            raise DeviceLost(name, message_of(error)) from lost
        found = {"status": "failed", "message": message_of(error)}
    close(cleanup)
    return None, found, cleanup


def close(cleanup: ExitStack) -> None:
    """Give back what a contender opened; its complaints are worth no measurement."""
    with contextlib.suppress(Exception):
        cleanup.close()
