"""No bit of a result depends on how many threads computed it, neither ours nor those of the BLAS library."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from alexnet_cuda.base import parallel

SCRIPT = """
import hashlib
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from alexnet_cuda.base import philox
from alexnet_cuda.base import parallel
from alexnet_cuda.ops import avg_pool, conv2d, dropout, linear, lrn, lrn_max_pool, max_pool, relu, sgd, tanh

def all_of_it():
    rng = np.random.default_rng(17)
    def normal(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    def show(name, *arrays):
        digest = hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()
        print(name, digest)

    x, weight, bias = normal(5, 31, 29, 6), normal(8, 3, 2, 3), normal(8)
    options = {"stride": (1, 2), "padding": (1, 0), "groups": 2}
    y = conv2d.fprop(x, weight, bias, activation="relu", **options)
    dy = normal(*y.shape)
    show("conv2d", y, conv2d.dgrad(dy, weight, x.shape, **options), *conv2d.wgrad(x, dy, (3, 2), **options))
    for n, inputs, outputs in ((3, 1200, 2100), (900, 40, 70), (4000, 9, 12)):
        x, weight, bias, dy = normal(n, inputs), normal(outputs, inputs), normal(outputs), normal(n, outputs)
        y = linear.fprop(x, weight, bias, activation="tanh")
        show("linear", y, linear.dgrad(dy, weight), *linear.wgrad(x, dy))
    x, dy = normal(3, 55, 54, 32), normal(3, 55, 54, 32)
    p = lrn.parameters(32, alpha=0.1, groups=2)
    show("lrn", lrn.fprop(x, p), lrn.bprop(dy, x, p))
    y, argmax = max_pool.fprop(x)
    show("pool", y, argmax, max_pool.bprop(y, argmax, x.shape), avg_pool.fprop(x), avg_pool.bprop(y, x.shape))
    show("elementwise", relu.fprop(x), relu.bprop(dy, x), tanh.fprop(x), tanh.bprop(dy, x))
    w, v = x.copy(), dy.copy()
    sgd.update(sgd.SgdParams(w, v, 0.1), x)
    show("sgd", w, v)
    key = {"seed": 1, "purpose": 2, "step": 3, "row_stride": 1728}
    show("dropout", dropout.apply(x.reshape(-1, 1728), dropout.parameters(0.5, **key)))
    y, argmax = lrn_max_pool.fprop(x, p)
    show("lrn_max_pool", y, argmax, lrn_max_pool.bprop(y, argmax, x, p, relu=True))
    numbers = philox.bits(1, 2, 3, 5, 200000), philox.normal(1, 2, 3, 5, 200000)
    show("philox", *numbers, philox.permutation(1, 2, 3, 40000))

all_of_it()
if parallel.num_threads() == 3:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(all_of_it).result()
print("threads", parallel.num_threads())
"""


def digests(threads: int) -> list[str]:
    environment = {**os.environ, "ALEXNET_CUDA_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    environment["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *lines, last = done.stdout.splitlines()
    assert last == f"threads {threads}"
    return lines


def test_one_two_and_three_threads_give_the_same_bits_to_any_thread() -> None:
    one = digests(1)
    assert len(one) == 11
    assert digests(2) == one
    assert digests(3) == one * 2  # the second time in another thread than the first


@pytest.fixture
def four_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three helpers beside the caller, whatever the machine."""
    pool = ThreadPoolExecutor(3)
    monkeypatch.setattr(parallel, "num_threads", lambda: 4)
    monkeypatch.setattr(parallel, "_pool", lambda: pool)


@pytest.mark.usefixtures("four_threads")
@pytest.mark.parametrize("tasks", [0, 1, 2, 5, 300])
def test_each_task_runs_once(tasks: int) -> None:
    seen: Counter[int] = Counter()
    parallel.parallel_for(lambda i: seen.update([i]), tasks)
    assert seen == dict.fromkeys(range(tasks), 1)


@pytest.mark.usefixtures("four_threads")
def test_an_error_is_raised_when_the_running_tasks_have_ended_and_the_next_call_works() -> None:
    started, ended = [], []
    together = threading.Barrier(4)

    def body(i: int) -> None:
        started.append(i)
        if i < 4:
            together.wait(timeout=10)
        if threading.current_thread() is threading.main_thread():
            raise ZeroDivisionError
        time.sleep(0.05)
        ended.append(i)

    with pytest.raises(ZeroDivisionError):
        parallel.parallel_for(body, 100)
    assert len(started) - 1 == len(ended) < 99
    test_each_task_runs_once(5)


@pytest.mark.usefixtures("four_threads")
@pytest.mark.parametrize("native", [False, True])
def test_ctrl_c_while_others_are_waited_for_comes_at_their_end(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    together, ended = threading.Barrier(4), []
    real = parallel.wait

    def interrupted(futures: Any) -> None:
        monkeypatch.setattr(parallel, "wait", real)
        raise KeyboardInterrupt

    def task(*_: int) -> None:  # of `_cpu` it would go on in memory that the next call takes
        together.wait(timeout=10)
        if threading.current_thread() is not threading.main_thread():
            time.sleep(0.05)
            ended.append(1)

    monkeypatch.setattr(parallel, "wait", interrupted)
    of_cpu = SimpleNamespace(workspace_bytes=0, tiles=4, run=task)
    run = partial(parallel.run, of_cpu) if native else partial(parallel.parallel_for, task, 4)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert len(ended) == 3


@pytest.mark.usefixtures("four_threads")
def test_a_task_within_a_task_stays_in_its_thread_and_memory() -> None:
    threads: dict[int, set[int]] = {i: set() for i in range(8)}
    reused = []

    def outer(i: int) -> None:
        mine = parallel.scratch("test", (3, i + 1), np.float32)
        mine[...] = i
        parallel.parallel_for(lambda _: threads[i].add(threading.get_ident()), 5)
        time.sleep(0.01)
        reused.append(bool(np.all(mine == i)) and mine.shape == (3, i + 1))

    parallel.parallel_for(outer, 8)
    assert all(len(idents) == 1 for idents in threads.values())
    assert len(set.union(*threads.values())) > 1
    assert reused == [True] * 8


class Slow:
    """A `Work` whose helper takes a while."""

    tiles, workspace_bytes = 3, 0

    def __init__(self) -> None:
        self.began, self.ended = threading.Event(), threading.Event()

    def run(self, *_: int) -> None:
        self.began.set()
        time.sleep(0.05)
        self.ended.set()


@pytest.mark.parametrize(
    "call", [parallel.run, lambda work: parallel.parallel_for(work.run, work.tiles)], ids=["run", "parallel_for"]
)
def test_a_call_that_ends_while_it_calls_for_help_leaves_no_helper_in_its_arrays(
    monkeypatch: pytest.MonkeyPatch, call: Callable[[Slow], None]
) -> None:
    work, pool = Slow(), ThreadPoolExecutor(1)

    class Pool:
        def submit(self, *body: Any) -> Any:
            if work.began.is_set():
                raise KeyboardInterrupt  # or the system has no thread for the pool
            future = pool.submit(*body)
            assert work.began.wait(timeout=60)
            return future

    monkeypatch.setattr(parallel, "num_threads", lambda: 3)
    monkeypatch.setattr(parallel, "_pool", Pool)
    with pytest.raises(KeyboardInterrupt):
        call(work)
    assert work.ended.is_set()
