"""What the benchmarks hold results to: the CPU's operations in float64, on a part of a case's random numbers."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks import ops
from benchmarks.harness import check
from benchmarks.harness.bench import Bench, ours
from benchmarks.harness.cases import PERIOD, Case, Tensor, numbers, of_role, table
from benchmarks.ops import normpool

from alexnet_cuda.ops import lrn

from .fakes import FakeDevice

CASES = [
    Case("conv2d", "fprop_fused", "conv2", 2, "float32"),
    Case("conv2d", "dgrad", "conv5", 5, "float32"),
    Case("conv2d", "wgrad", "conv1", 2, "float32"),
    Case("conv2d", "wgrad_sgd", "conv4", 2, "float32"),
    Case("linear", "fprop", "fc8", 3, "float32"),
    Case("linear", "dgrad", "fc8", 3, "float32"),
    Case("linear", "wgrad", "fc8", 9, "float32"),
    *(Case(op, d, "lrn2", 4, "float32") for op in ("lrn", "lrn_max_pool") for d in ("fprop", "bprop")),
    *(Case("max_pool", d, "pool5", 4, "float32") for d in ("fprop", "bprop")),
    Case("softmax_cross_entropy", "fprop", "logits", 4, "float32"),
    Case("dropout", "apply", "fc6", 4, "float32"),
    Case("augment", "fprop", "input", 3, "float32"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.key)
def test_a_right_result_passes_and_any_damage_is_seen(case):
    """Whole operations in float32 on the CPU against parts of them in float64: the parts are cut as they must be."""
    device = FakeDevice()
    device.cache_bytes = 1
    bench = Bench(case, device)
    prepared = ours(case).prepare(bench)
    bench.begin()
    prepared.run(0)
    outputs, wanted = prepared.outputs(), check.expected(case)
    assert set(outputs) == set(wanted)
    assert check.problems(outputs, wanted, ours=True) == []
    for name, e in wanted.items():
        where = np.argwhere(np.broadcast_to(e.decided, e.values.shape))
        assert len(where) > 0.05 * e.values.size
        at = tuple(where[len(where) // 2])
        damaged = outputs[name].copy()
        place = tuple(i.ravel()[j] for i, j in zip(e.at, at, strict=True))
        damaged[place] = 255 if damaged.dtype == np.uint8 else damaged[place] + 1e-2 * np.abs(e.values).max()
        (sentence,) = check.problems({**outputs, name: damaged}, wanted, ours=False)
        assert sentence.startswith(f"{name}: 1 of {e.values.size} checked elements are off, the worst ([{place[0]}")
        if damaged.dtype != np.uint8:
            damaged[...] = outputs[name]
            damaged.reshape(-1)[damaged.size // 2 : damaged.size // 2 + 3] = np.nan
            assert f"{name}: 3 of {damaged.size} elements are NaN" in check.problems({name: damaged}, wanted, True)[0]


def test_another_alpha_is_noticed():
    case = Case("lrn", "fprop", "lrn1", 2, "bfloat16")
    x = numbers("x", ops.of(case).tensors(case)["x"]).astype(np.float64)
    wanted = check.expected(case)
    for alpha in (1e-4, 1e-4 / 5, 0.0):
        y = lrn.fprop(x, lrn.parameters(96, 5, 2.0, alpha, 0.75, groups=2)).astype("bfloat16")
        assert bool(check.problems({"y": y}, wanted, ours=False)) == (alpha != 1e-4)


def test_ties_prove_nothing_and_what_is_not_wanted_needs_only_be_written():
    case = Case("max_pool", "bprop", "pool5", 2, "bfloat16")
    x = np.zeros((1, 13, 13, 256))
    assert not normpool.MAX_POOL.decided(case, {"x": x}, 0.1)["dx"].any()
    x[0, 0, 0] = 1.0
    assert normpool.MAX_POOL.decided(case, {"x": x}, 0.1)["dx"].sum() == 2 * 2 * 256, "the rest has other windows"
    either = check.Expected(np.ix_(np.arange(2)), np.ones(2), 0.0, 0.0, np.array([True, False]))
    assert check.problems({"dx": np.array([1.0, 9.0], np.float32)}, {"dx": either}, ours=False) == []
    other = {"a mask": np.array([1.0, np.nan], np.float32), "wide": np.array([np.inf], np.float16)}
    assert check.problems(other, check.expected(case), ours=False) == [
        "a mask: 1 of 2 elements are NaN or were not written"
    ]


def test_the_table():
    assert all(PERIOD % n for n in range(2, int(PERIOD**0.5) + 1)), "prime"
    assert abs(table("bfloat16", 3, "").astype(np.float64).std() / 8 - 1) < 0.01
    assert np.unique(table("float32", 0, "tf32").view(np.uint32) & 0x1FFF).tolist() == [0]
    bias = table("float32", 0, "bfloat16")
    np.testing.assert_array_equal(bias, bias.astype("bfloat16").astype(np.float32))
    assert table("int64", 0, "").max() == 999


def test_numbers_are_one_tensor_however_they_are_asked_for():
    tensor = Tensor("NHWC", (3, 30, 200, 300), "float32")
    whole, at = numbers("x", tensor, 3), [np.array([0, 2]), np.arange(30), np.array([7]), np.array([299, 1])]
    np.testing.assert_array_equal(numbers("x", tensor, 3, at), whole[np.ix_(*at)])
    flat = table("float32", 0, "")
    assert whole.reshape(-1)[PERIOD] == whole.reshape(-1)[0], "the table again"
    assert whole.reshape(-1)[5] in flat
    assert not np.array_equal(whole, numbers("x", tensor, 4)), "every set has its own"
    assert set(of_role({"x": tensor}, "output")) == set()
