"""What the benchmarks check results against: sampled elements in float64, held here against the CPU's operations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from benchmarks import ops as bench_ops
from benchmarks.harness import check
from benchmarks.harness.cases import Case
from benchmarks.harness.values import PERIOD, numpy_dtype, round_to_tf32, table, values_of
from benchmarks.ops import _common
from benchmarks.ops._normpool import lrn_parameters, maps

from alexnet_cuda.backends.cpu import lrn as cpu_lrn
from alexnet_cuda.ops import conv2d, linear, lrn, max_pool, softmax_cross_entropy

Doubles = dict[str, np.ndarray]


def case(op: str, direction: str, layer: str, precision: str = "float32", batch: int = 2) -> Case:
    return Case(op, direction, layer, batch, precision)


def conv_arguments(c: Case) -> dict[str, Any]:
    from benchmarks.harness.cases import conv

    s = conv(c)
    return {"stride": s.stride, "padding": s.padding, "groups": s.groups}


def updated(d: Doubles, gradient: np.ndarray) -> Doubles:
    weight, velocity = _common.update(d["master"], d["velocity"], gradient)
    return {"master": weight, "velocity": velocity, "copy": weight}


def reference(c: Case, d: Doubles) -> Doubles:
    """The whole outputs of a case from the CPU backend in float64."""
    if c.op == "conv2d":
        kernel = (11, 11) if c.layer == "conv1" else (5, 5) if c.layer == "conv2" else (3, 3)
        if c.direction == "fprop":
            return {"y": conv2d.fprop(d["x"], d["weight"], **conv_arguments(c))}
        if c.direction == "fprop_fused":
            return {"y": conv2d.fprop(d["x"], d["weight"], d["bias"], activation="relu", **conv_arguments(c))}
        if c.direction == "dgrad":
            shape = bench_ops.module("conv2d").tensors(c).outputs["dx"].shape
            return {"dx": conv2d.dgrad(d["dy"], d["weight"], shape, **conv_arguments(c))}
        gradient = conv2d.wgrad(d["x"], d["dy"], kernel, **conv_arguments(c))[0]
        return {"dweight": gradient} if c.direction == "wgrad" else updated(d, gradient)
    if c.op == "linear":
        if c.direction.startswith("fprop"):
            activation = "relu" if c.direction == "fprop_fused" and c.layer != "fc8" else "none"
            return {"y": linear.fprop(d["x"], d["weight"], d.get("bias"), activation=activation)}
        if c.direction == "dgrad":
            return {"dx": linear.dgrad(d["dy"], d["weight"])}
        gradient = linear.wgrad(d["x"], d["dy"])[0]
        return {"dweight": gradient} if c.direction == "wgrad" else updated(d, gradient)
    if c.op == "sgd":
        return updated(d, d["gradient"])
    if c.op == "softmax_cross_entropy":
        dlogits = np.empty_like(d["logits"])
        softmax_cross_entropy.fprop(d["logits"], d["labels"].astype(np.int64), scale=1 / c.batch, dlogits=dlogits)
        return {"dlogits": dlogits}
    return pooled_reference(c, d)


def pooled_reference(c: Case, d: Doubles) -> Doubles:
    p = None if c.op == "max_pool" else lrn_parameters(maps(c))
    assert isinstance(p, cpu_lrn.LrnParams | None)
    if c.op == "lrn":
        return {"y": lrn.fprop(d["x"], p)} if c.direction == "fprop" else {"dx": lrn.bprop(d["dy"], d["x"], p)}
    between = d["x"] if p is None else lrn.fprop(d["x"], p)
    y, argmax = max_pool.fprop(between)
    if c.direction == "fprop":
        return {"y": y, "argmax": argmax}
    dbetween = max_pool.bprop(d["dy"], argmax, between.shape)
    return {"dx": dbetween if p is None else lrn.bprop(dbetween, d["x"], p)}


CASES = [
    case("conv2d", "fprop", "conv1", batch=1),
    case("conv2d", "fprop_fused", "conv2"),
    case("conv2d", "dgrad", "conv2"),
    case("conv2d", "dgrad", "conv5", "bfloat16"),
    case("conv2d", "wgrad", "conv1", batch=1),
    case("conv2d", "wgrad", "conv4", "tf32"),
    case("conv2d", "wgrad_sgd", "conv3", "bfloat16"),
    case("linear", "fprop", "fc8"),
    case("linear", "fprop_fused", "fc7", "bfloat16"),
    case("linear", "fprop_fused", "fc8"),
    case("linear", "dgrad", "fc8"),
    case("linear", "wgrad", "fc8"),
    case("linear", "wgrad_sgd", "fc8", "float16"),
    case("lrn", "fprop", "lrn1"),
    case("lrn", "bprop", "lrn2"),
    case("max_pool", "fprop", "pool5", "bfloat16"),
    case("max_pool", "bprop", "pool2"),
    case("lrn_max_pool", "fprop", "lrn2"),
    case("lrn_max_pool", "bprop", "lrn2"),
    case("softmax_cross_entropy", "fprop", "logits"),
]


@pytest.mark.parametrize("c", CASES, ids=lambda c: c.key)
def test_samples_are_what_the_cpu_computes(c: Case) -> None:
    module = bench_ops.module(c.op)
    tensors = module.tensors(c)
    values = values_of(tensors)
    whole = reference(c, {name: v.array().astype(np.float64) for name, v in values.items()})
    samples = module.samples(c, values, np.random.default_rng(0))
    assert {s.output for s in samples} == set(tensors.outputs) | set(tensors.updated)
    for sample in samples:
        assert len(sample.index) >= 20
        np.testing.assert_allclose(whole[sample.output].reshape(-1)[sample.index], sample.expected, 1e-9, 1e-13)
    # The float64 results, rounded to the type that the case stores, pass the check; damaged ones do not.
    stored = {**tensors.outputs, **tensors.updated}
    rounded = {name: whole[name].astype(numpy_dtype(t.dtype)) for name, t in stored.items()}
    assert check.problems(rounded, samples, check.OUR_ROUNDINGS) == []
    for sample in samples:
        damaged = {**rounded, sample.output: rounded[sample.output].copy()}
        at = sample.index[int(np.argmax(np.abs(sample.expected)))]
        damaged[sample.output].reshape(-1)[at] = 0 if rounded[sample.output].dtype.kind != "u" else 255
        assert len(check.problems(damaged, samples, check.THEIR_ROUNDINGS)) == 1


def test_a_swapped_tap_or_alpha_is_noticed() -> None:
    c = case("lrn", "fprop", "lrn1", "bfloat16")
    module = bench_ops.module("lrn")
    values = values_of(module.tensors(c))
    x = values["x"].array().astype(np.float64)
    samples = module.samples(c, values, np.random.default_rng(0))
    for alpha in (1e-4, 1e-4 / 5, 0.0):
        p = lrn.parameters(96, 5, 2.0, alpha, 0.75, groups=2)
        y = lrn.fprop(x, p).astype(numpy_dtype("bfloat16"))
        assert bool(check.problems({"y": y}, samples, check.THEIR_ROUNDINGS)) == (alpha != 1e-4)


def test_unwritten_elements_are_found_wherever_they_are() -> None:
    for name in ("float32", "bfloat16", "float16"):
        output = np.zeros(1000, numpy_dtype(name))
        assert check.unwritten(output) == 0
        output.view(np.uint8)[700 * output.itemsize : 703 * output.itemsize] = 255
        assert check.unwritten(output) == 3
        output[:] = np.inf
        assert check.unwritten(output) == 0, "infinity was written; the sample tells whether rightly"
    assert check.problems({"y": np.full(4, np.nan, np.float32)}, [], 1) == [
        "y: 4 of 4 elements are NaN or were not written"
    ]


def test_nan_among_the_samples_is_wrong() -> None:
    sample = check.Sample("y", np.array([1]), np.array([1.0]), np.array([np.inf]))
    assert len(check.problems({"y": np.array([1, np.nan], np.float32)}, [sample], 8)) == 2


def test_the_table() -> None:
    assert all(PERIOD % n for n in range(2, int(PERIOD**0.5) + 1)), "prime"
    normal = table("bfloat16", 3, "").astype(np.float64)
    assert abs(normal.std() / 8 - 1) < 0.01
    tf32 = table("float32", 0, "tf32")
    np.testing.assert_array_equal(tf32, round_to_tf32(tf32))
    assert np.unique(tf32.view(np.uint32) & 0x1FFF).tolist() == [0]
    bias = table("float32", 0, "bfloat16")
    np.testing.assert_array_equal(bias, bias.astype(numpy_dtype("bfloat16")).astype(np.float32))


def test_values_are_one_tensor_however_they_are_asked_for() -> None:
    c = case("max_pool", "fprop", "pool5")
    values = values_of(bench_ops.module("max_pool").tensors(c), set_index=3)["x"]
    whole, rng = values.array(), np.random.default_rng(1)
    at = tuple(rng.integers(0, n, 50) for n in whole.shape)
    np.testing.assert_array_equal(values.at(*at), whole[at].astype(np.float64))
    other = values_of(bench_ops.module("max_pool").tensors(c), set_index=4)["x"].array()
    assert not np.array_equal(whole, other)
