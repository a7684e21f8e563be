"""`_cpu`: which instruction sets there are, that they agree, and what ``ALEXNET_CUDA_CPU`` chooses."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alexnet_cuda.backends.cpu import native
from alexnet_cuda.base.array import constant
from alexnet_cuda.ops import conv2d, dropout, linear, lrn, lrn_max_pool, sgd

SETS = native.extension().instruction_sets()


@pytest.fixture(autouse=True)
def _back_to_the_best() -> Iterator[None]:
    yield
    native.extension().select(SETS[0])


def results() -> list[np.ndarray[Any, Any]]:
    """What every operation of `_cpu` makes of the same numbers; sizes are past its tiles, and no multiples of them."""
    rng = np.random.default_rng(5)

    def normal(*shape: int) -> np.ndarray[Any, Any]:
        return rng.standard_normal(shape).astype(np.float32)

    x, weight, bias = normal(3, 19, 31, 38), normal(74, 3, 2, 19), normal(74)
    options: dict[str, Any] = {"stride": (2, 1), "padding": ((1, 0), (2, 3)), "groups": 2}
    y = conv2d.fprop(x, weight, bias, activation="relu", **options)
    dy = normal(*y.shape)
    kept, velocity = weight.copy(), normal(*weight.shape)
    _, dbias = conv2d.wgrad(x, dy, (3, 2), sgd=sgd.SgdParams(kept, velocity, 0.1), **options)
    found = [y, conv2d.dgrad(dy, weight, x.shape, mask=x, **options), kept, velocity, dbias]
    for n in (3, 33):  # few images, and many
        x, weight, dy = normal(n, 1045), normal(75, 1045), normal(n, 75)
        found += [linear.fprop(x, weight, activation="tanh"), linear.dgrad(dy, weight), *linear.wgrad(x, dy)]
        found += [linear.fprop(x, constant(weight))]
    x = normal(2, 13, 12, 22)
    window = lrn.parameters(22, alpha=0.1, groups=2)
    pool: dict[str, Any] = {"padding": ((1, 0), (0, 2)), "ceil_mode": True}
    y, argmax = lrn_max_pool.fprop(x, window, **pool)
    found += [y, argmax, lrn_max_pool.bprop(y, argmax, x, window, relu=True, **pool)]
    key = {"seed": 1, "purpose": 2, "step": 3, "row_stride": 333, "start": 5}
    return [*found, dropout.apply(normal(7, 333), dropout.parameters(0.3, **key))]


def results_of(instruction_set: str) -> list[np.ndarray[Any, Any]]:
    native.extension().select(instruction_set)
    return results()


def test_sets_with_fused_multiply_adds_give_the_same_bits() -> None:
    fused = [results_of(name) for name in SETS if name != "generic"]
    for other in fused[1:]:
        for a, b in zip(fused[0], other, strict=True):
            assert a.tobytes() == b.tobytes()


def test_every_set_differs_from_numpy_by_rounding_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [results_of(name) for name in SETS]
    monkeypatch.setattr(native, "has", lambda op, arrays: False)
    expected = results()
    for arrays in found:
        for a, b in zip(arrays, expected, strict=True):
            if a.dtype == np.uint8:
                assert (a != b).mean() < 1e-2  # two maxima that rounding lets change places
            else:
                # Each of up to 3 x 19 x 34 additions rounds by half an ulp of a sum that reaches sqrt(2000): random
                # signs, so sqrt(2000) of these, six times for the largest of all.
                np.testing.assert_allclose(a, b, rtol=0, atol=6 * 2000 * 2.0**-25)


def ones(*shape: int) -> np.ndarray[Any, Any]:
    return np.ones(shape, np.float32)


def test_a_layer_without_inputs_has_a_gradient_of_its_bias() -> None:
    dweight, dbias = linear.wgrad(ones(3, 0), ones(3, 4))
    assert dweight.shape == (4, 0)
    assert dbias.tolist() == [3, 3, 3, 3]


def test_a_classifier_of_ten_has_work_for_many_threads() -> None:
    weight = ones(10, 500)
    for n, threads in ((64, 4), (8, 2)):
        x, y = ones(n, 500), ones(n, 10)
        assert native.extension().linear_fprop(x, weight, None, None, y, "none").tiles >= threads
        assert native.extension().linear_dgrad(y, weight, None, 1.0, None, x).tiles >= 4


def test_constant_weights_are_packed_once() -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((40, 1045), np.float32)
    for rows, weight in ((x, ones(75, 1045)), (x[:4, :900].copy().reshape(4, 15, 15, 4), ones(34, 3, 3, 2))):
        weight[...] = rng.standard_normal(weight.shape)
        options: dict[str, Any] = {} if rows.ndim == 2 else {"groups": 2}
        fprop = conv2d.fprop if options else linear.fprop
        expected, marked = fprop(rows, weight, **options), constant(weight)
        for n in (0, 1, 9, len(rows)):  # whatever comes with an image, its sums have one order
            np.testing.assert_array_equal(fprop(rows[:n], marked, **options), expected[:n])
        assert marked.made is not None
        assert len(marked.made) == 1
        weight[...] = 0  # which nobody may do; here it shows that the panels are read
        np.testing.assert_array_equal(fprop(rows, marked, **options), expected)
        assert not fprop(rows, constant(weight), **options).any()


def test_strides_beyond_the_image_are_taken_or_refused() -> None:
    x, weight = ones(1, 5, 5, 1), ones(1, 3, 3, 1)
    assert conv2d.dgrad(ones(1, 1, 1, 1), weight, x.shape, stride=2**28).sum() == 9
    for options in ({"stride": 2**31 - 1}, {"stride": 2**30, "padding": 2**30}):
        with pytest.raises(ValueError, match=r"stride or padding is \d+; expected at most 268435456"):
            conv2d.fprop(x, weight, **options)
    for refused in ({"stride": 2**31}, {"stride": 2**63}, {"padding": 2**31}, {"padding": 2**70}):
        with pytest.raises(ValueError, match=rf"^{next(iter(refused))} must be at most 2147483647, got"):
            conv2d.fprop(x, weight, **refused)
    most = 2**28 - 1  # each image padded to 2^64 numbers
    with pytest.raises(MemoryError):
        conv2d.fprop(ones(16, 5, 5, 64), ones(1, 2, 2, 64), stride=most, padding=most)


def test_an_extent_beyond_an_int_is_refused() -> None:
    long = np.lib.stride_tricks.as_strided(ones(1), (2**32 + 3, 1), (0, 4))  # no memory is touched before the check
    with pytest.raises(ValueError, match="4294967299; expected at most 2147483647"):
        native.extension().linear_fprop(long, ones(1, 1), None, None, long, "none")


@pytest.mark.parametrize("name", ["y", "dx", "dweight", "dbias", "weight", "velocity", "argmax", "dropped"])
def test_what_is_read_only_stays_as_it_is(name: str) -> None:
    x, y, weight = ones(4, 3), ones(4, 5), ones(5, 3)
    shape = {"y": (4, 5), "dbias": (5,), "argmax": (1, 1, 1, 2), "dx": (4, 3), "dropped": (4, 3)}.get(name, (5, 3))
    kept = np.full(shape, 7, np.uint8 if name == "argmax" else np.float32)
    kept.flags.writeable = False
    key = {"seed": 1, "purpose": 2, "step": 3, "row_stride": 3}
    with pytest.raises(ValueError, match="not writeable"):
        {
            "y": lambda: linear.fprop(x, weight, out=kept),
            "dx": lambda: linear.dgrad(y, weight, out=kept),
            "dweight": lambda: linear.wgrad(x, y, out=kept),
            "dbias": lambda: linear.wgrad(x, y, bias_out=kept),
            "weight": lambda: linear.wgrad(x, y, sgd=sgd.SgdParams(kept, ones(5, 3), 0.1)),
            "velocity": lambda: sgd.update(sgd.SgdParams(weight, kept, 0.1), weight),
            "argmax": lambda: lrn_max_pool.fprop(ones(1, 3, 3, 2), lrn.parameters(2), argmax_out=kept),
            "dropped": lambda: dropout.apply(x, dropout.parameters(0.5, **key), out=kept),
        }[name]()
    assert (kept == 7).all()


def test_the_stub_has_the_same_functions_and_parameters() -> None:
    module = native.extension()
    stub = ast.parse(Path(module.__file__).with_name("_cpu.pyi").read_text(encoding="utf-8"))
    functions = {node.name: node.args for node in stub.body if isinstance(node, ast.FunctionDef)}
    assert set(functions) == {name for name in dir(module) if not name.startswith("_")} - {"Work"}
    for name, args in functions.items():
        words = getattr(module, name).__doc__.splitlines()[0]
        found = re.findall(r"(\w+): ", words.partition(" -> ")[0])
        assert found == [a.arg for a in (*args.args, *args.kwonlyargs)], words


def choose(value: str) -> subprocess.CompletedProcess[str]:
    script = """
import numpy as np
from alexnet_cuda import ops
from alexnet_cuda.ops import _dispatch
print(_dispatch.backend("linear", np.ones((1, 1), np.float32)).__name__)
print(_dispatch.backend("linear", np.ones((1, 1))).__name__)
print(ops.linear.fprop(np.ones((1, 3), np.float32), np.ones((2, 3), np.float32)).tolist())
"""
    environment = {**os.environ, "ALEXNET_CUDA_CPU": value, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("value", ["", "numpy", "generic"])
def test_the_environment_chooses(value: str) -> None:
    package = "alexnet_cuda.backends.cpu."
    single = package + ("linear" if value == "numpy" else "native.linear")
    assert choose(value).stdout.splitlines() == [single, package + "linear", "[[3.0, 3.0]]"]


def test_a_set_that_is_not_there_is_refused() -> None:
    done = choose("avx1024")
    expected = f"ALEXNET_CUDA_CPU must be numpy or one of {', '.join(SETS)} on this processor, got 'avx1024'"
    assert expected in done.stderr
