"""ONNX's own cases of single operators, those of two dimensions: what the package onnx says must come out."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from alexnet_cuda.base.windows import Sides
from alexnet_cuda.ops import avg_pool, conv2d, lrn, max_pool

from .backends import Backend
from .tolerance import assert_equal

Array = npt.NDArray[Any]
Attributes = dict[str, Any]


def padding(a: Attributes, extents: tuple[int, ...]) -> Sides:
    """What `pads` or `auto_pad` say of an input with these extents."""
    same = a.get("auto_pad", "NOTSET")
    if not same.startswith("SAME"):
        top, left, bottom, right = a.get("pads", (0, 0, 0, 0))
        return (top, bottom), (left, right)
    both = []
    for extent, size, stride in zip(extents, a["kernel_shape"], a.get("strides", (1, 1)), strict=True):
        whole = max((-(-extent // stride) - 1) * stride + size - extent, 0)
        less, more = whole // 2, whole - whole // 2
        both.append((less, more) if same == "SAME_UPPER" else (more, less))
    return both[0], both[1]


def nhwc(array: Array) -> Array:
    return np.ascontiguousarray(np.moveaxis(array, 1, -1))


def pool_options(a: Attributes, shape: tuple[int, ...]) -> dict[str, Any]:
    (size, _), (stride, _) = a["kernel_shape"], a.get("strides", (1, 1))
    ceil_mode = bool(a.get("ceil_mode", 0))
    return {"size": size, "stride": stride, "padding": padding(a, shape[2:]), "ceil_mode": ceil_mode}


def run_conv(backend: Backend, a: Attributes, x: Array, w: Array) -> list[Array]:
    given = (backend.to_device(nhwc(array)) for array in (x, w))
    stride, groups = tuple(a.get("strides", (1, 1))), a.get("group", 1)
    return [backend.to_host(conv2d.fprop(*given, stride=stride, padding=padding(a, x.shape[2:]), groups=groups))]


def run_average_pool(backend: Backend, a: Attributes, x: Array) -> list[Array]:
    counted = bool(a.get("count_include_pad", 0))
    y = avg_pool.fprop(backend.to_device(nhwc(x)), count_include_pad=counted, **pool_options(a, x.shape))
    return [backend.to_host(y)]


def run_max_pool(backend: Backend, a: Attributes, x: Array) -> list[Array]:
    """Maxima, and the argmax as ONNX counts it: through the whole tensor [N, C, H, W], or with H and W changed."""
    options = pool_options(a, x.shape)
    y, argmax = (backend.to_host(array) for array in max_pool.fprop(backend.to_device(nhwc(x)), **options))
    n, p, q, c = np.indices(y.shape)
    (top, _), (left, _) = options["padding"]
    row = p * options["stride"] - top + argmax // options["size"]
    column = q * options["stride"] - left + argmax % options["size"]
    _, channels, height, width = x.shape
    within = column * height + row if a.get("storage_order") else row * width + column
    return [y, (n * channels + c) * height * width + within]


def run_lrn(backend: Backend, a: Attributes, x: Array) -> list[Array]:
    p = lrn.parameters(
        x.shape[1], a["size"], a.get("bias", 1.0), a.get("alpha", 1e-4), a.get("beta", 0.75), alpha_over_size=True
    )
    return [backend.to_host(lrn.fprop(backend.to_device(nhwc(x)), p))]


# Module, how to run a case, how many cases there are at least, and the names of those that ask for what is not offered.
OPERATORS: dict[str, tuple[str, Callable[..., list[Array]], int, set[str]]] = {
    "Conv": ("conv", run_conv, 6, set()),
    "MaxPool": ("maxpool", run_max_pool, 12, {"1d", "3d", "dilations", "uint8"}),
    "AveragePool": ("averagepool", run_average_pool, 12, {"1d", "3d", "dilations"}),
    "LRN": ("lrn", run_lrn, 2, set()),
}


@pytest.mark.parametrize("operator", OPERATORS)
def test_onnx_cases(backend: Backend, operator: str) -> None:
    module, run, count, left_out = OPERATORS[operator]
    helper = importlib.import_module("onnx.helper")
    importlib.import_module(f"onnx.backend.test.case.node.{module}")
    cases = importlib.import_module("onnx.backend.test.case.node")._NodeTestCases
    done = 0
    for case in cases:
        node = case.model.graph.node[0]
        if node.op_type != operator or left_out & set(case.name.split("_")):
            continue
        attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        attributes = {name: v.decode() if isinstance(v, bytes) else v for name, v in attributes.items()}
        for inputs, outputs in case.data_sets:
            results = run(backend, attributes, *inputs)
            for actual, expected in zip(results, outputs, strict=False):
                if operator == "MaxPool":
                    assert_equal(actual.astype(expected.dtype), nhwc(expected))
                else:  # as onnx compares; some of its numbers are given in few digits
                    np.testing.assert_allclose(actual, nhwc(expected), case.rtol, case.atol, err_msg=case.name)
        done += 1
    assert done >= count
