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
from typing import NoReturn

from ...base.locks import ForkLock, Level

# Held by the thread that runs kernels or chooses among streams.
executor_lock = ForkLock(Level.EXECUTOR)


@dataclass(eq=False)
class Event:
    """A mark in a stream; `error` is what the work before it has raised."""

    done: bool = False
    error: Exception | None = None


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
    error: Exception | None = None

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

    def synchronize(self, mark: Event | None = None) -> None:
        """Do all work of this stream, or up to a mark, and of others what it waits for or what the order has before it.

        Raises
        ------
        Exception
            What work of this stream, or that it rests on, has raised: once, and of a mark each time.
        """
        self.scheduler.run_until(lambda: not self.queue if mark is None else mark.done)
        if error := self.error if mark is None else mark.error:
            self.scheduler.tell(error)


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
            while not done():
                ready = [stream for stream in self._live() if self._can_go_on(stream)]
                if not ready:
                    error = RuntimeError("every stream waits for an event that no stream will record")
                    for stream in self._live():
                        self._give_up(stream, 0, error)
                    self.tell(error)
                chosen = self._choose(ready)
                try:
                    self._step(chosen)
                except Exception as failure:  # of whoever waits for that stream, which need not be this thread
                    self._give_up(chosen, 0, failure)
                except BaseException:
                    self._give_up(chosen, 0, RuntimeError("the work before this was interrupted"))
                    raise

    def _give_up(self, stream: Stream, first: int, error: Exception) -> None:
        """Drop a stream's work from `first` on, which rests on what failed, and all that waits for it elsewhere.

        Its marks count as reached, for the work that comes later; other streams, of other models, go on.
        """
        stream.error = error
        kept, lost = list(stream.queue)[:first], list(stream.queue)[first:]
        stream.queue.clear()
        stream.queue.extend(kept)
        for mark in (work.mark for work in lost if work.mark is not None):
            for other in self._live():
                waits = [number for number, work in enumerate(other.queue) if work.wait is mark]
                if waits:
                    self._give_up(other, waits[0], error)
            mark.done, mark.error = True, error

    def tell(self, error: Exception) -> NoReturn:
        """Raise what has failed; other streams that rested on it have no need to tell it again."""
        with executor_lock:
            for stream in self._live():
                if stream.error is error:
                    stream.error = None
        raise error

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
