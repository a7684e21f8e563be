"""The benchmarks' calls of our operations, on the kernels themselves: the CPU executor runs them, the check judges."""

from __future__ import annotations

import pytest
from benchmarks import ops
from benchmarks.harness.bench import Bench, ours, wrong
from benchmarks.harness.cases import Case, Tensor, Tensors
from benchmarks.ops import bench_sgd
from benchmarks.ops._common import updated_tensors

from tests.cuda.standin import Driver, Stream

from .fakes import ExecutorDevice, StandInDevice

# Every operation and direction, every precision, at the layers that are small.
LAYERS = {"conv2d": "conv5", "linear": "fc8", "lrn": "lrn2", "lrn_max_pool": "lrn2", "max_pool": "pool5"}
CASES = [
    case
    for precision in ("bfloat16", "float16", "tf32", "float32")
    for case in ops.cases(1, precision)
    if case.layer == LAYERS.get(case.op, case.layer) and (case.op != "conv2d" or precision in ("bfloat16", "tf32"))
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.key)
def test_our_kernels_give_what_the_check_expects(case: Case) -> None:
    bench = Bench(case, ExecutorDevice())
    prepared = ours(case).prepare(bench)
    assert wrong(bench, prepared, bench.samples()) == []
    assert prepared.detail["launch"]


def test_conv1_is_folded_the_same() -> None:
    bench = Bench(Case("conv2d", "fprop_fused", "conv1", 1, "bfloat16"), ExecutorDevice())
    assert wrong(bench, ours(bench.case).prepare(bench), bench.samples()) == []


def update_of_few_rows(monkeypatch: pytest.MonkeyPatch, precision: str) -> Case:
    """fc6's 37.7 million weights are too many for the executor; a few rows of them are the same call."""
    (case,) = bench_sgd.cases(128, precision)
    updated, outputs = updated_tensors(case, (3, 4096))
    few = Tensors({"gradient": Tensor((3, 4096), "float32")}, outputs, updated)
    monkeypatch.setattr(bench_sgd, "tensors", lambda case: few)
    return case


def test_the_update(monkeypatch: pytest.MonkeyPatch) -> None:
    for precision in ("bfloat16", "float32"):
        case = update_of_few_rows(monkeypatch, precision)
        bench = Bench(case, ExecutorDevice())
        assert wrong(bench, ours(case).prepare(bench), bench.samples()) == []


def test_every_operation_can_be_recorded_as_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the measurements record it: nothing is copied from the host, and no memory is asked of the driver."""
    driver = Driver(1, 0)
    driver.install(monkeypatch)
    seen = set()
    for case in [*CASES, update_of_few_rows(monkeypatch, "bfloat16")]:
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
    assert seen == set(ops.NAMES)
    driver.close()
