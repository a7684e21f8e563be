"""Threads that use one model take turns: its buffers serve one pass at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar, cast

from .locks import ForkLock, Level

Method = TypeVar("Method", bound=Callable[..., Any])


class Turns:
    """Whose turn it is with a model, and which thread began the training step that is under way."""

    def __init__(self) -> None:
        self._lock = ForkLock(Level.MODEL)
        self._doing = ""  # what the thread that holds the lock is at
        self._trainers: list[threading.Thread] = []  # who trains, and who has come to be told so
        self._began: int | None = None

    @contextmanager
    def take(self, doing: str) -> Iterator[None]:
        """Wait for one's turn to "read", "write", "predict" or "train".

        Raises
        ------
        RuntimeError
            Another thread trains, or waits to, and this one wants to; or this thread is at something already, as where
            a handler of signals comes in between; only reads may lie within each other.
        """
        me = threading.current_thread()
        if doing == "train":
            self._trainers.append(me)
        try:
            # In a forked child the parent's other threads are dead.
            if doing == "train" and next(filter(threading.Thread.is_alive, self._trainers)) is not me:
                raise RuntimeError(
                    "this model is in the midst of a training step: it can be trained by one thread at a time, several "
                    "threads can train a model each (copy.deepcopy)"
                )
            with self._lock:
                before = self._doing
                if before and (before, doing) != ("read", "read"):
                    raise RuntimeError(
                        f"this thread is in the midst of a call to {before} and cannot {doing} within it"
                    )
                try:
                    self._doing = doing
                    yield
                finally:
                    self._doing = before
        finally:
            if doing == "train":
                self._trainers.remove(me)

    def begin_step(self) -> None:
        """Note that a training step, of one call or several, begins in this thread."""
        self._began = threading.get_ident()

    def check_step(self, call: str) -> None:
        """Require that this thread began the step that `call` goes on with."""
        if self._began != threading.get_ident():
            raise RuntimeError(
                f"{call} would go on with another thread's training step: one thread at a time can train"
            )


def takes_turn(doing: str) -> Callable[[Method], Method]:
    """Have each call of a method of `Model` take its turn; see `Turns.take`."""

    def decorate(method: Method) -> Method:
        @wraps(method)
        def run(self: Any, *args: Any, **kwargs: Any) -> Any:
            with self._turns.take(doing):
                return method(self, *args, **kwargs)

        return cast(Method, run)

    return decorate
