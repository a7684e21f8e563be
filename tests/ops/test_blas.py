"""BLAS runs in one thread where this package computes, and has the user's number of threads again afterwards."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from threadpoolctl import ThreadpoolController

from alexnet_cuda.base import blas, parallel


class Library:
    """A BLAS library whose limit holds for the process, or for the calling thread, or that none can set."""

    def __init__(self, scope: str) -> None:
        self.filepath, self.scope = f"lib{scope}.so", scope
        self._everybodys, self._mine = 4, threading.local()

    @property
    def num_threads(self) -> int:
        return getattr(self._mine, "threads", 4) if self.scope == "thread" else self._everybodys

    def set_num_threads(self, threads: int) -> None:
        if self.scope == "thread":
            self._mine.threads = threads
        elif self.scope == "process":
            self._everybodys = threads


def clear_control(library: Any) -> None:
    """Let any thread set the limit, which threadpoolctl since 3.8 keeps to one."""
    getattr(library, "clear_controlling_thread", lambda force: None)(force=True)


@pytest.fixture
def real() -> Iterator[Any]:
    """NumPy's BLAS, limited to two threads by this one, which keeps the control of it."""
    library = ThreadpoolController().select(user_api="blas").lib_controllers[0]
    before = library.num_threads
    clear_control(library)
    library.set_num_threads(2)
    yield library
    clear_control(library)
    library.set_num_threads(before)
    clear_control(library)


@pytest.fixture(params=["process", "thread", "real"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    found = request.getfixturevalue("real") if request.param == "real" else Library(request.param)
    monkeypatch.setattr(blas, "_libraries", lambda: [found])
    return found


def in_a_thread(body: Callable[[], object]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(body).result(timeout=60)


def found_in_bodies(library: Any) -> set[int]:
    found = set()
    parallel.parallel_for(lambda _: found.add(library.num_threads), 8)
    return found


def test_bodies_of_any_caller_find_one_thread(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = ThreadPoolExecutor(2)
    monkeypatch.setattr(parallel, "num_threads", lambda: 3)
    monkeypatch.setattr(parallel, "_pool", lambda: pool)
    before = library.num_threads
    assert found_in_bodies(library) == {1}
    assert in_a_thread(lambda: found_in_bodies(library)) == {1}
    assert found_in_bodies(library) == {1}
    assert library.num_threads == before > 1
    assert in_a_thread(lambda: library.num_threads) == before


@pytest.mark.parametrize("first_to_leave", [0, 1])
def test_overlapping_callers_leave_what_was_there(library: Any, first_to_leave: int) -> None:
    """Each step of each thread after the one before, in any order of leaving."""
    before = library.num_threads
    enter, leave, entered, left = ([threading.Event() for _ in range(2)] for _ in range(4))
    found: list[list[int]] = [[], []]

    def caller(i: int) -> None:
        assert enter[i].wait(60)
        with blas.one_blas_thread():
            entered[i].set()
            assert leave[i].wait(60)
            found[i].append(library.num_threads)
        found[i].append(library.num_threads)
        left[i].set()

    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(caller, i) for i in range(2)]
        for i in range(2):
            enter[i].set()
            assert entered[i].wait(60)
        for i in (first_to_leave, 1 - first_to_leave):
            leave[i].set()
            assert left[i].wait(60)
        for future in running:
            future.result(timeout=60)
    # Who leaves first has the old limit at once where it is that thread's own, else the other one still needs it.
    own = isinstance(library, Library) and library.scope == "thread"
    assert found[first_to_leave] == [1, before if own else 1]
    assert found[1 - first_to_leave] == [1, before]
    assert library.num_threads == before
    assert in_a_thread(lambda: library.num_threads) == before
    library.set_num_threads(3)  # and whoever wants may set it again
    assert library.num_threads == 3


@pytest.mark.parametrize("threads", [3, 4])
def test_a_users_limit_that_changes_meanwhile_stays(library: Any, threads: int) -> None:
    """As one that `threadpool_limits` sets, or gives back, in another thread: where a limit is everybody's."""
    before = library.num_threads
    with blas.one_blas_thread():
        in_a_thread(lambda: (clear_control(library), library.set_num_threads(threads)))
    own = isinstance(library, Library) and library.scope == "thread"
    assert library.num_threads == (before if own else threads)


@pytest.mark.filterwarnings("error")
def test_a_library_that_does_not_obey_is_named_once_and_no_obstacle(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    deaf = Library("deaf")
    monkeypatch.setattr(blas, "_libraries", lambda: [deaf])
    for _ in range(2):
        assert found_in_bodies(deaf) == {4}
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("libdeaf.so was asked for 1 threads and has 4: results can depend on")


def test_a_child_has_the_limit_that_was_there_before_its_parents_other_thread(real: Any) -> None:
    entered, leave = threading.Event(), threading.Event()

    def holder() -> None:
        with blas.one_blas_thread():
            entered.set()
            leave.wait(60)

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(holder)
        assert entered.wait(60)
        if (child := os.fork()) == 0:
            os._exit(real.num_threads)
        status = os.waitpid(child, 0)[1]
        leave.set()
        running.result(timeout=60)
    assert os.waitstatus_to_exitcode(status) == 2
    assert real.num_threads == 2
