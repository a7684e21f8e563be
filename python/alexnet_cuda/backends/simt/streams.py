"""Streams of the CPU executor: work is put off until somebody waits for it, then done in the worst order allowed.

On a GPU kernels and copies of several streams overlap as they happen to; here a seed chooses among all orders that
the events permit. So a wait that is missing shows: a copy that is delivered as late as its event allows leaves NaN
where a kernel did not wait for it, one that begins as early as it may takes what a kernel has not written yet.
"""

from __future__ import annotations

import random
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ..locks import ForkLock, Level

# Held by the thread that runs kernels or chooses among streams.
executor_lock = ForkLock(Level.EXECUTOR)


@dataclass(eq=False)
class Event:
    """A mark in a stream."""

    done: bool = False


@dataclass
class _Work:
    do: Callable[[], object] | None = None
    mark: Event | None = None  # done after it
    wait: Event | None = None  # not begun before


@dataclass(eq=False)
class Stream:
    """Work in order. `copies` says that it is a stream of copies, which some orders prefer or put off."""

    scheduler: Scheduler
    copies: bool = False
    rank: float = 0.0
    queue: deque[_Work] = field(default_factory=deque)

    def put(self, do: Callable[[], object]) -> None:
        """Add work."""
        self.queue.append(_Work(do=do))

    def record(self) -> Event:
        """Add a mark."""
        event = Event()
        self.queue.append(_Work(mark=event))
        return event

    def wait(self, event: Event) -> None:
        """Let what is added from now on begin only after the mark."""
        self.queue.append(_Work(wait=event))

    def synchronize(self) -> None:
        """Do all work of this stream, and of others what it waits for or what the order has before it."""
        self.scheduler.run_until(lambda: not self.queue)


class Scheduler:
    """Chooses which stream goes on.

    Orders by seed: 0 puts copies off as long as anything else can run, 1 prefers them; from 2 on even ones draw a
    stream at every turn, odd ones draw once which streams go first, so that one device is far ahead of another.
    """

    def __init__(self, seed: int = 0) -> None:
        self.reseed(seed)
        self._streams: list[weakref.ref[Stream]] = []

    def reseed(self, seed: int) -> None:
        """Choose another order for what comes."""
        self.seed = seed
        self._random = random.Random(seed)

    def stream(self, copies: bool = False) -> Stream:
        """A new stream."""
        with executor_lock:
            stream = Stream(self, copies, self._random.random())
            self._streams.append(weakref.ref(stream))
        return stream

    def run_until(self, done: Callable[[], bool]) -> None:
        """Do work until `done` says so.

        Raises
        ------
        RuntimeError
            No stream can go on: they wait for marks that nobody will reach.
        """
        with executor_lock:
            try:
                while not done():
                    ready = [stream for stream in self._live() if self._can_go_on(stream)]
                    if not ready:
                        raise RuntimeError("every stream waits for an event that no stream will record")
                    self._step(self._choose(ready))
            except BaseException:
                for stream in self._live():  # what was to come rests on what failed
                    stream.queue.clear()
                raise

    def _live(self) -> list[Stream]:
        self._streams = [r for r in self._streams if r() is not None]
        return [stream for r in self._streams if (stream := r()) is not None]

    @staticmethod
    def _can_go_on(stream: Stream) -> bool:
        if not stream.queue:
            return False
        wait = stream.queue[0].wait
        return wait is None or wait.done

    def _choose(self, ready: list[Stream]) -> Stream:
        if self.seed >= 2 and self.seed % 2:
            return max(ready, key=lambda stream: stream.rank)
        if self.seed >= 2:
            return self._random.choice(ready)
        return min(ready, key=lambda stream: stream.copies != bool(self.seed))

    @staticmethod
    def _step(stream: Stream) -> None:
        work = stream.queue.popleft()
        if work.do is not None:
            work.do()
        if work.mark is not None:
            work.mark.done = True
