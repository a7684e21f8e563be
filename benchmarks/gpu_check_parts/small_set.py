"""Every operation a few times on small shapes, against the float64 reference on the CPU.

    python benchmarks/gpu_check_parts/small_set.py --backend cuda --output small.jsonl

Small enough for compute-sanitizer, which makes a kernel up to a hundred times slower, and for the CPU executor. One
JSON line a comparison, written as soon as it is made, so that a kernel that hangs leaves what came before it. To add
a shape, add a line to a table; to add an operation, a function and its line in `CALLS`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.ops.backends import BACKENDS, Backend
from tests.ops.tolerance import PRECISIONS, Precision, assert_close, dot_terms

from alexnet_cuda import ops
from alexnet_cuda.backends.cpu.augment import Views

Array = npt.NDArray[Any]
Shape = tuple[int, ...]
Record = dict[str, Any]
# Those with a matrix product, which alone distinguish tf32.
PRODUCTS = ("conv2d", "linear")


@dataclass(frozen=True)
class Convolution:
    """Sizes of a convolution: x [N, H, W, C] and weight [K, R, S, C / groups]."""

    x: Shape
    filters: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    groups: int = 1


# Lopsided: H and W, R and S differ, no extent is a multiple of a tile, channels are no whole 16-byte chunks. The others
# are AlexNet's layers on fewer positions: the kernels' tiles, chunks, folding and splits are those of the layers.
CONVOLUTIONS = {
    "lopsided": Convolution((3, 6, 7, 6), 4, (2, 3), (1, 2), (0, 1), 2),
    "conv1": Convolution((2, 35, 31, 3), 96, (11, 11), (4, 4)),
    "conv2": Convolution((2, 7, 6, 96), 256, (5, 5), (1, 1), (2, 2), 2),
    "conv3": Convolution((2, 5, 4, 256), 384, (3, 3), (1, 1), (1, 1)),
}
# rows, in, out
PRODUCT_SIZES = {"lopsided": (5, 19, 11), "fc6": (3, 1152, 264), "full batch": (130, 264, 200)}
# Each pins a tile or the splits where the operands are whole chunks, so that every variant of the kernels runs.
FORCED = ("tile=128x128", "tile=128x96", "tile=64x64", "tile=16x128", "splits=3")
FORCED_CASES = ("conv3", "fc6")
ACTIVATIONS: dict[str, Shape] = {"lopsided": (3, 5, 7, 11), "vectors": (2, 6, 6, 256)}
# x, window, stride
POOLS: dict[str, tuple[Shape, int, int]] = {
    "lopsided": ((2, 8, 11, 5), 3, 2),
    "pool1": ((2, 15, 13, 96), 3, 2),
    "gaps": ((1, 7, 6, 16), 2, 3),
}
# x, groups, beta
NORMS: dict[str, tuple[Shape, int, float]] = {
    "lopsided": ((2, 7, 6, 10), 2, 0.75),
    "norm1": ((2, 9, 7, 96), 2, 0.75),
    "another beta": ((1, 7, 5, 32), 1, 0.6),
}
SOFTMAXES = {"lopsided": (3, 7), "fc8": (5, 1000)}
ROWS: dict[str, Shape] = {"lopsided": (3, 7), "fc7": (4, 4096)}
LARGE_LOGITS = 1e4


class SmallSet:
    """The calls in one precision on one backend; what came of each goes to `emit`.

    Attributes
    ----------
    backend : Backend
    precision : Precision
    """

    def __init__(self, backend: Backend, precision: Precision, emit: Callable[[Record], None]) -> None:
        self.backend, self.precision, self._emit = backend, precision, emit
        self._random = np.random.default_rng(20)
        self._note = ""

    def normal(self, *shape: int) -> Array:
        """Normal numbers in this precision, on the host."""
        return self.precision.array(self._random.standard_normal(shape))

    def parameters(self, *shape: int) -> Array:
        """Normal numbers of the dtype that bias and master weights have in every precision."""
        return self._random.standard_normal(shape).astype(np.float32)

    @property
    def how(self) -> dict[str, Any]:
        """What a matrix product has to be told of the precision: its arrays tell the rest."""
        return {"precision": "tf32"} if self.precision.name == "tf32" else {}

    @contextmanager
    def forced(self, choice: str) -> Iterator[None]:
        """Pin what the launch choice would choose."""
        before = os.environ.get("ALEXNET_CUDA_FORCE", "")
        os.environ["ALEXNET_CUDA_FORCE"] = choice
        self._note = f", {choice}" if choice else ""
        try:
            yield
        finally:
            os.environ["ALEXNET_CUDA_FORCE"], self._note = before, ""

    def compare(
        self,
        name: str,
        case: str,
        call: Callable[..., Any],
        inputs: Sequence[Array | None],
        expected: Sequence[Array],
        terms: Sequence[Array | float],
        *,
        dtypes: Sequence[npt.DTypeLike] = (),
        shared: float = 0.0,
    ) -> None:
        """Hold what `call` makes of `inputs` against `expected`, and keep the worst error over its bound.

        Parameters
        ----------
        name : str
            Operation and direction, such as ``conv2d.fprop``.
        call : callable
            Takes the inputs on the device; returns an array or several.
        terms : units of the sums' rounding, each as in `Precision.bound`
            0 with an exact expectation.
        dtypes : dtypes of the results, optional
            By default the precision's.
        shared : float
            Units of rounding that all elements may have in common, as in `assert_close`.
        """
        op, _, direction = name.partition(".")
        record: Record = {"op": op, "direction": direction, "precision": self.precision.name, "case": case + self._note}
        start = time.perf_counter()
        try:
            given = [None if a is None else self.backend.to_device(a) for a in inputs]
            results = call(*given)
            results = results if isinstance(results, tuple) else (results,)
            actual = [self.backend.to_host(result) for result in results]
            record["error_over_bound"] = max(
                self._compare_one(a, e, t, d, shared)
                for a, e, t, d in zip(
                    actual, expected, terms, dtypes or [self.precision.dtype] * len(actual), strict=True
                )
            )
            record["status"] = "passed"
        except Exception as error:
            record |= {"status": "failed", "message": f"{type(error).__name__}: {error}"[:1000]}
        record["seconds"] = round(time.perf_counter() - start, 4)
        self._emit(record)

    def _compare_one(
        self, actual: Array, expected: Array, terms: Array | float, dtype: npt.DTypeLike, shared: float
    ) -> float:
        dtype = np.dtype(dtype)
        if dtype.kind in "bu" or np.all(np.asarray(terms) == 0):
            wrong = actual.shape != expected.shape or actual.dtype != dtype or not np.array_equal(actual, expected)
            if wrong:
                raise AssertionError(f"{np.count_nonzero(actual != expected)} of {expected.size} numbers differ")
            return 0.0
        wide = np.asarray(expected, np.float64)
        precision = self.precision if dtype == self.precision.dtype else PRECISIONS[dtype.name]
        bound = np.broadcast_to(precision.bound(wide, terms), wide.shape)
        assert_close(actual, wide, bound, dtype, shared=shared * precision.accumulate)
        return float(np.max(np.abs(actual.astype(np.float64) - wide) / bound, initial=0.0))


def _double(*arrays: Array) -> list[Array]:
    return [a.astype(np.float64) for a in arrays]


def conv2d(s: SmallSet) -> None:
    """Forward, gradient by input, gradient by weight and bias; every tile on one layer."""
    for case, sizes in CONVOLUTIONS.items():
        for choice in ("", *(FORCED if case in FORCED_CASES and s.backend.name != "cpu" else ())):
            with s.forced(choice):
                _conv2d(s, case, sizes)


def _conv2d(s: SmallSet, case: str, sizes: Convolution) -> None:
    options: dict[str, Any] = {"stride": sizes.stride, "padding": sizes.padding, "groups": sizes.groups}
    x, weight = s.normal(*sizes.x), s.normal(sizes.filters, *sizes.kernel, sizes.x[3] // sizes.groups)
    bias = s.parameters(sizes.filters)
    x64, weight64, bias64 = _double(x, weight, bias)
    y = ops.conv2d.fprop(x64, weight64, bias64, **options)
    dy = s.normal(*y.shape)
    (dy64,) = _double(dy)
    squares = ops.conv2d.fprop(x64**2, weight64**2, bias64**2, **options)
    s.compare(
        "conv2d.fprop",
        case,
        lambda x, w, b: ops.conv2d.fprop(x, w, b, activation="relu", **options, **s.how),
        (x, weight, bias),
        [np.maximum(y, 0)],
        [dot_terms(weight[0].size + 1, squares)],
    )
    s.compare(
        "conv2d.dgrad",
        case,
        lambda dy, w: ops.conv2d.dgrad(dy, w, sizes.x, **options, **s.how),
        (dy, weight),
        [ops.conv2d.dgrad(dy64, weight64, sizes.x, **options)],
        [dot_terms(weight[..., 0].size // sizes.groups, ops.conv2d.dgrad(dy64**2, weight64**2, sizes.x, **options))],
    )
    squares = ops.conv2d.wgrad(x64**2, dy64**2, sizes.kernel, **options)
    s.compare(
        "conv2d.wgrad",
        case,
        lambda x, dy: ops.conv2d.wgrad(x, dy, sizes.kernel, **options, **s.how),
        (x, dy),
        ops.conv2d.wgrad(x64, dy64, sizes.kernel, **options),
        [dot_terms(dy[..., 0].size, each) for each in squares],
        dtypes=(np.float32, np.float32),
    )


def linear(s: SmallSet) -> None:
    """As `conv2d`."""
    for case, (rows, inputs, outputs) in PRODUCT_SIZES.items():
        for choice in ("", *(FORCED if case in FORCED_CASES and s.backend.name != "cpu" else ())):
            with s.forced(choice):
                _linear(s, case, rows, inputs, outputs)


def _linear(s: SmallSet, case: str, rows: int, inputs: int, outputs: int) -> None:
    x, weight, dy = s.normal(rows, inputs), s.normal(outputs, inputs), s.normal(rows, outputs)
    bias = s.parameters(outputs)
    x64, weight64, dy64, bias64 = _double(x, weight, dy, bias)
    s.compare(
        "linear.fprop",
        case,
        lambda x, w, b: ops.linear.fprop(x, w, b, activation="relu", **s.how),
        (x, weight, bias),
        [np.maximum(x64 @ weight64.T + bias64, 0)],
        [dot_terms(inputs + 1, x64**2 @ (weight64**2).T + bias64**2)],
    )
    s.compare(
        "linear.dgrad",
        case,
        lambda dy, w: ops.linear.dgrad(dy, w, **s.how),
        (dy, weight),
        [dy64 @ weight64],
        [dot_terms(outputs, dy64**2 @ weight64**2)],
    )
    s.compare(
        "linear.wgrad",
        case,
        lambda x, dy: ops.linear.wgrad(x, dy, **s.how),
        (x, dy),
        [dy64.T @ x64, dy64.sum(axis=0)],
        [dot_terms(rows, (dy64**2).T @ x64**2), dot_terms(rows, (dy64**2).sum(axis=0))],
        dtypes=(np.float32, np.float32),
    )


def relu(s: SmallSet) -> None:
    """Exact in every precision."""
    for case, shape in ACTIVATIONS.items():
        x, dy = s.normal(*shape), s.normal(*shape)
        y = np.maximum(x, x.dtype.type(0))
        s.compare("relu.fprop", case, ops.relu.fprop, (x,), [y], [0.0])
        s.compare("relu.bprop", case, ops.relu.bprop, (dy, y), [np.where(y > 0, dy, dy.dtype.type(0))], [0.0])


def tanh(s: SmallSet) -> None:
    """Libraries document up to 4 units in the last place: 8 roundings."""
    for case, shape in ACTIVATIONS.items():
        x, dy = s.normal(*shape), s.normal(*shape)
        y = np.tanh(x.astype(np.float64))
        s.compare("tanh.fprop", case, ops.tanh.fprop, (x,), [y], [8 * np.abs(y)])
        rounded = s.precision.array(y)
        wide, slope = _double(rounded, dy)
        s.compare("tanh.bprop", case, ops.tanh.bprop, (dy, rounded), [slope * (1 - wide**2)], [3 * np.abs(slope)])


def max_pool(s: SmallSet) -> None:
    """Values and argmax exact; the gradient adds the windows that meet in an element."""
    for case, (shape, size, stride) in POOLS.items():
        x = s.normal(*shape)
        y, argmax = ops.max_pool.fprop(x.astype(np.float64), size=size, stride=stride)
        s.compare(
            "max_pool.fprop",
            case,
            lambda x, size=size, stride=stride: ops.max_pool.fprop(x, size=size, stride=stride),
            (x,),
            [y, argmax],
            [0.0, 0.0],
            dtypes=(s.precision.dtype, np.uint8),
        )
        dy = s.normal(*y.shape)
        (dy64,) = _double(dy)
        s.compare(
            "max_pool.bprop",
            case,
            lambda dy, at, shape=shape, size=size, stride=stride: ops.max_pool.bprop(
                dy, at, shape, size=size, stride=stride
            ),
            (dy, argmax),
            [ops.max_pool.bprop(dy64, argmax, shape, size=size, stride=stride)],
            [
                min(size, -(-size // stride)) ** 2
                * ops.max_pool.bprop(np.abs(dy64), argmax, shape, size=size, stride=stride)
            ],
        )


def avg_pool(s: SmallSet) -> None:
    """An addition an element of the window, the factor and its product."""
    for case, (shape, size, stride) in POOLS.items():
        window: dict[str, Any] = {"size": size, "stride": stride}
        x = s.normal(*shape)
        (x64,) = _double(x)
        y = ops.avg_pool.fprop(x64, **window)
        dy = s.normal(*y.shape)
        (dy64,) = _double(dy)
        units = size**2 + 2
        s.compare(
            "avg_pool.fprop",
            case,
            lambda x, window=window: ops.avg_pool.fprop(x, **window),
            (x,),
            [y],
            [units * ops.avg_pool.fprop(np.abs(x64), **window)],
            shared=1,
        )
        s.compare(
            "avg_pool.bprop",
            case,
            lambda dy, shape=shape, window=window: ops.avg_pool.bprop(dy, shape, **window),
            (dy,),
            [ops.avg_pool.bprop(dy64, shape, **window)],
            [units * ops.avg_pool.bprop(np.abs(dy64), shape, **window)],
            shared=1,
        )


def lrn(s: SmallSet) -> None:
    """The window's sum, which beta scales, 8 roundings of the power, 2 of alpha and the quotient."""
    for case, (shape, groups, beta) in NORMS.items():
        p = ops.lrn.parameters(shape[3], beta=beta, groups=groups, alpha=0.05)
        x, dy = s.normal(*shape), s.normal(*shape)
        x64, dy64 = _double(x, dy)
        units = beta * (p.size + 3) + 10
        y = ops.lrn.fprop(x64, p)
        s.compare("lrn.fprop", case, lambda x, p=p: ops.lrn.fprop(x, p), (x,), [y], [units * np.abs(y)], shared=units)
        s.compare(
            "lrn.bprop",
            case,
            lambda dy, x, p=p: ops.lrn.bprop(dy, x, p),
            (dy, x),
            [ops.lrn.bprop(dy64, x64, p)],
            [(2 * units + p.size + 5) * _lrn_gradient_size(dy64, x64, p)],
            shared=units,
        )


def _lrn_gradient_size(dy: Array, x: Array, p: Any) -> Array:
    # The gradient's two terms without sign: what is added, and so what rounding is relative to.
    x, dy = np.abs(x) + 1e-30, np.abs(dy)
    first = dy * ops.lrn.fprop(x, p) / x
    size: Array = 2 * first - ops.lrn.bprop(dy, x, p)
    return size


def softmax_cross_entropy(s: SmallSet) -> None:
    """Loss, correctness and gradient, also of large logits."""
    for case, (rows, classes) in SOFTMAXES.items():
        for scale, note in ((1.0, ""), (LARGE_LOGITS, ", large logits")):
            logits = s.precision.array(scale * s.normal(rows, classes).astype(np.float64))
            labels = np.arange(rows, dtype=np.int64) % classes
            _softmax_cross_entropy(s, case + note, logits, labels)


def _softmax_cross_entropy(s: SmallSet, case: str, logits: Array, labels: Array) -> None:
    (wide,) = _double(logits)
    gradient = np.empty_like(wide)
    loss, correct = ops.softmax_cross_entropy.fprop(wide, labels, scale=0.25, dlogits=gradient)
    # A logit less the largest is off by as many units as it is large, and so is its exponential, relative to itself;
    # the sum of the exponentials adds less than 5 sqrt(classes), and 8 are for what follows.
    units = 5 * np.sqrt(logits.shape[1]) + 8
    away = wide.max(axis=1, keepdims=True) - wide
    at_label = labels[:, None] == np.arange(logits.shape[1])

    def call(logits: Any, labels: Any) -> tuple[Any, ...]:
        dlogits = s.backend.poisoned(logits.shape, s.precision.dtype)
        return (*ops.softmax_cross_entropy.fprop(logits, labels, scale=0.25, dlogits=dlogits), dlogits)

    s.compare(
        "softmax_cross_entropy.fprop and bprop",
        case,
        call,
        (logits, labels),
        [loss, correct, gradient],
        [
            units + np.log(logits.shape[1]) + away[at_label] + np.abs(loss),
            0.0,
            0.25 * ((gradient / 0.25 + at_label) * (units + away) + at_label),
        ],
        dtypes=(np.float32, np.bool_, s.precision.dtype),
    )


def dropout(s: SmallSet) -> None:
    """To the bit what NumPy draws."""
    for case, shape in ROWS.items():
        x = s.normal(*shape)
        key: dict[str, Any] = {"seed": 0x123456789ABCDEF0, "purpose": 77, "step": 2**33 + 5, "start": 8}
        # The product with the float32 scale is exact in float64, so it rounds once, as in a kernel.
        scale = np.float64(np.float32(1 / (1 - 0.3)))
        kept = ops.dropout.apply(np.ones(shape), 0.3, **key) != 0
        expected = np.where(kept, x.astype(np.float64) * scale, 0).astype(x.dtype)
        s.compare("dropout.apply", case, lambda x, key=key: ops.dropout.apply(x, 0.3, **key), (x,), [expected], [0.0])


def sgd(s: SmallSet) -> None:
    """Master weights in float32; the gradient in this precision where a kernel takes it."""
    for case, shape in ROWS.items():
        weight, velocity, gradient = s.parameters(*shape), s.parameters(*shape), s.normal(*shape)
        rates: dict[str, float] = {"learning_rate": 0.01, "momentum": 0.9, "weight_decay": 5e-4}
        w, v, g = _double(weight, velocity, gradient)
        sizes = np.abs(w) + np.abs(v) + np.abs(g)
        ops.sgd.update(w, v, g, **rates)

        def call(w: Any, v: Any, g: Any, rates: dict[str, float] = rates) -> tuple[Any, ...]:
            ops.sgd.update(w, v, g, **rates)
            return w, v

        s.compare(
            "sgd.update",
            case,
            call,
            (weight, velocity, gradient),
            [w, v],
            [6 * sizes, 6 * sizes],
            dtypes=(np.float32, np.float32),
            shared=6,
        )


def augment(s: SmallSet) -> None:
    """Crop, mirror and colour shift of bytes."""
    for case, (n, height, width, size) in {"lopsided": (3, 11, 9, 7), "227 of 256": (2, 256, 256, 227)}.items():
        images = s._random.integers(0, 256, (n, height, width, 3), dtype=np.uint8)
        top, left = (s._random.integers(0, extent - size + 1, n) for extent in (height, width))
        shift = (20 * s.parameters(n, 3)).astype(np.float32)
        views = (top.astype(np.int64), left.astype(np.int64), np.arange(n) % 2 == 1, shift)
        options: dict[str, Any] = {
            "mean": (123.0, 117.0, 104.0), "std": (58.0, 57.0, 56.0), "channel_order": "BGR"
        }  # fmt: skip
        expected = np.empty((n, size, size, 3))
        ops.augment.fprop(images, Views(*views), out=expected, **options)

        def call(images: Any, *views: Any, shape: Shape = expected.shape, options: Any = options) -> Any:
            out = s.backend.poisoned(shape, s.precision.dtype)
            return ops.augment.fprop(images, Views(*views), out=out, **options)

        # The scale, two products and two sums, of numbers up to 255, the shift and the mean, over std.
        sizes = (255 + float(np.abs(shift).max()) + 123) / 56
        s.compare("augment.fprop", case, call, (images, *views), [expected], [5 * sizes], shared=2)


CALLS: dict[str, Callable[[SmallSet], None]] = {
    "conv2d": conv2d,
    "linear": linear,
    "relu": relu,
    "tanh": tanh,
    "max_pool": max_pool,
    "avg_pool": avg_pool,
    "lrn": lrn,
    "softmax_cross_entropy": softmax_cross_entropy,
    "dropout": dropout,
    "sgd": sgd,
    "augment": augment,
}


def run(backend: Backend, emit: Callable[[Record], None], precisions: Sequence[str] | None = None) -> None:
    """Make every call in every precision that the backend offers, or in those given."""
    for name in precisions or backend.precisions:
        small = SmallSet(backend, PRECISIONS[name], emit)
        for op, calls in CALLS.items():
            if name == "tf32" and op not in PRODUCTS:
                continue
            try:
                calls(small)
            except Exception as error:  # of the reference or of a function that is missing: no kernel's fault, no pass
                message = f"{type(error).__name__}: {error}"[:1000]
                emit({"op": op, "direction": "", "precision": name, "case": "", "status": "failed", "message": message})


def main() -> int:
    """Write a line a comparison; the exit status is 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backend", default="cuda", choices=sorted({"cuda", *BACKENDS}))
    parser.add_argument("--precisions", help="comma-separated; by default all that the backend offers")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.backend not in BACKENDS:
        print(f"no backend {arguments.backend!r} here: tests/ops/backends.py offers {', '.join(BACKENDS)}")
        return 1
    if arguments.backend == "cuda":
        import cupy

        # An allocation each, so that the sanitizers know where an array ends and which bytes were written.
        cupy.cuda.set_allocator(None)
    failed = 0
    with open(arguments.output, "w", encoding="utf-8") as file:

        def emit(record: Record) -> None:
            nonlocal failed
            failed += record["status"] != "passed"
            file.write(json.dumps(record) + "\n")
            file.flush()
            if record["status"] != "passed":
                print(f"{record['op']} {record['direction']} {record['precision']} {record['case']}", end=": ")
                print(record["message"], flush=True)

        run(BACKENDS[arguments.backend], emit, arguments.precisions and arguments.precisions.split(","))
    print(f"{failed} comparisons failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
