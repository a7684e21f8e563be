"""After first use a forked child works, and so do the processes of multiprocessing and joblib."""

import re
from pathlib import Path

import pytest

import alexnet_cuda
from tests.child import python

# The forks are in processes of their own: what hangs there is ended by the alarm or the timeout, and fails.
SCRIPT = """
import os, signal, sys, threading
import numpy as np
from alexnet_cuda import Model, ops
from alexnet_cuda.backends.simt.memory import to_simt

TINY = {"num_classes": 7, "image_size": 67, "conv_widths": (4, 4, 4, 4, 4), "fc_widths": (8, 8), "lrn": False}
images = np.random.default_rng(0).integers(0, 256, (4, 76, 76, 3), dtype=np.uint8)
labels = np.array([0, 1, 2, 6])
models = {place: Model(devices=place, init="he", std=(58, 58, 58), **TINY) for place in ("cpu", "simt")}

def digest(_=0):
    signal.alarm(50)
    return b"".join(model.probabilities(images).tobytes() for model in models.values())

def in_child(function):
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        signal.alarm(50)
        os.write(writing, function())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        result = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    return result
"""

FORKS = """
before = digest()
assert in_child(digest) == before, "after first use"
assert in_child(lambda: in_child(digest)) == before, "a child's child"

# While another thread is in the midst of a step: the fork waits for it, and the child has the whole step.
# A handler of signals that raises while the fork waits changes nothing of that; Ctrl-C comes after the fork.
class Impatient(Exception):
    pass
def raise_impatient(*_):
    raise Impatient
signal.signal(signal.SIGUSR1, raise_impatient)
def fork_within_a_step(model, interrupt=None):
    model.train_step(images, labels)
    load, loaded, forked = model._inputs.load, threading.Event(), threading.Event()
    waiting = model._turns._lock._next
    def slow(*arguments, **options):
        del model._inputs.load
        halves = load(*arguments, **options)
        loaded.set()
        while interrupt is not None and waiting.acquire(blocking=False):  # until the fork waits
            waiting.release()
        if interrupt is not None:
            os.kill(os.getpid(), interrupt)
        forked.wait(0.15)  # a fork that does not wait is made by then
        return halves
    model._inputs.load = slow
    thread = threading.Thread(target=model.train_step, args=(images, labels))
    thread.start()
    assert loaded.wait(50)
    child = in_child(digest)
    forked.set()
    thread.join()
    found = []
    thread = threading.Thread(target=lambda: found.append(digest()), daemon=True)
    thread.start()
    thread.join(50)
    assert [child] == found, "in the parent's other threads"
for model in models.values():
    fork_within_a_step(model)
fork_within_a_step(models["cpu"], signal.SIGUSR1)
interrupts, again = [], threading.Event()
def raise_the_first(*_):
    interrupts.append(again.set() if interrupts else None)
    if len(interrupts) == 1:
        raise KeyboardInterrupt
signal.signal(signal.SIGINT, raise_the_first)
fork_within_a_step(models["cpu"], signal.SIGINT)
assert again.wait(50), "Ctrl-C was lost"

# While another thread runs a kernel outside any model.
x, stop = to_simt(np.ones((64, 64), np.float32)), threading.Event()
def kernels():
    while not stop.is_set():
        ops.relu.fprop(x)
thread = threading.Thread(target=kernels)
thread.start()
for _ in range(10):
    assert in_child(lambda: ops.relu.fprop(x).tobytes()) == np.asarray(x).tobytes()
stop.set()
thread.join()

# While another thread imports what reads a file of another framework.
import time
from alexnet_cuda.convert.result import needed
begun, imported = threading.Event(), threading.Event()
def importing():
    with needed("onnx", "this"):
        begun.set()
        time.sleep(0.2)
        imported.set()
thread = threading.Thread(target=importing)
thread.start()
begun.wait()
assert in_child(lambda: b"waited" if imported.is_set() else b"") == b"waited"
thread.join()

import multiprocessing
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(digest, range(2)) == [digest()] * 2
"""

JOBLIB = """
import joblib
digest()
models["cpu"].train_step(images, labels)
def predict(model):
    return model.probabilities(images)
for backend in ("loky", "threading"):
    for got in joblib.Parallel(n_jobs=2, backend=backend)(joblib.delayed(predict)(models["cpu"]) for _ in range(2)):
        np.testing.assert_array_equal(got, predict(models["cpu"]))
"""


@pytest.mark.parametrize("script", [FORKS, JOBLIB], ids=["a fork whatever the parent's threads are at", "joblib"])
def test_children_work(script):
    environment = {"ALEXNET_CUDA_NUM_THREADS": "2", "PYTHONWARNINGS": "ignore::DeprecationWarning"}
    python("-c", SCRIPT + script, env=environment, timeout=120)


def test_every_lock_is_one_that_a_fork_waits_for():
    package = Path(alexnet_cuda.__file__).parent
    made = re.compile(r"\b(R?Lock|Condition|Semaphore)\(\)")
    assert [path.name for path in package.rglob("*.py") if made.search(path.read_text())] == ["locks.py"]
