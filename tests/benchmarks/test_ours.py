"""The benchmarks' calls of our operations, on the kernels themselves: the CPU executor runs them, the check judges."""

from __future__ import annotations

import dataclasses

import pytest
from benchmarks import ops
from benchmarks.harness.bench import Bench, ours, wrong
from benchmarks.harness.cases import Case, Tensors
from benchmarks.harness.check import expected
from benchmarks.ops.launch import choice
from benchmarks.ops.pointwise import Sgd

from tests.cuda.standin import Driver, Stream

from .fakes import ExecutorDevice, FakeDevice, StandInDevice

# Every operation and direction, every precision, at the layers that are small; and conv1, which is folded.
LAYERS = {"conv2d": "conv5", "linear": "fc8", "lrn": "lrn2", "lrn_max_pool": "lrn2", "max_pool": "pool5"}
CASES = [
    case
    for precision in ("bfloat16", "float16", "tf32", "float32")
    for case in ops.cases(1, precision)
    if case.layer == LAYERS.get(case.op, case.layer) and (case.op != "conv2d" or precision in ("bfloat16", "tf32"))
]
CASES += [Case("conv2d", "fprop_fused", "conv1", 1, "bfloat16"), *ops.OPERATIONS["sgd"].cases(128, "bfloat16")]
CASES += ops.OPERATIONS["sgd"].cases(128, "float32")


@pytest.fixture(autouse=True)
def few_weights(monkeypatch):
    """fc6's 37.7 million weights are too many for the executor; a few rows of them are the same call."""
    whole = Sgd.tensors

    def tensors(self: Sgd, case: Case) -> Tensors:
        return {name: dataclasses.replace(t, shape=(8, 4096)) for name, t in whole(self, case).items()}

    monkeypatch.setattr(Sgd, "tensors", tensors)
    monkeypatch.setattr(Sgd, "part", lambda self, case: {})


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.key)
def test_our_kernels_give_what_the_check_expects(case):
    bench = Bench(case, ExecutorDevice())
    prepared = ours(case).prepare(bench)
    assert wrong(bench, prepared, expected(case), ours=True) == []
    assert prepared.detail["launch"] == choice(case, ExecutorDevice.machine)


def test_launch_choices_are_those_of_the_gpu_at_hand():
    """Of 7 multiprocessors; the bindings' default is an H200."""
    for case in ops.cases(128, "bfloat16"):
        if case.op in ("conv2d", "linear"):
            assert choice(case, FakeDevice.machine) != choice(case, {}), case.key


def test_every_operation_can_be_recorded_as_a_graph(monkeypatch):
    """As the measurements record it: nothing is copied from the host, and no memory is asked of the driver."""
    driver = Driver(1, 0)
    driver.install(monkeypatch)
    seen = set()
    for case in CASES:
        if case.precision != "bfloat16":
            continue
        bench, stream = Bench(case, StandInDevice()), Stream(non_blocking=True)
        prepared = ours(case).prepare(bench)
        with stream:
            prepared.run(0)
            stream.begin_capture()
            prepared.run(0)
            assert stream.end_capture().items, case.key
        seen.add(case.op)
    assert seen == set(ops.OPERATIONS)
    driver.close()
