"""The convolutions that are tested, and what each direction is held against."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from alexnet_cuda.base.windows import Padding, sides
from alexnet_cuda.ops import conv2d

from .backends import Backend
from .fused import (
    DgradForm,
    FpropForm,
    WgradForm,
)
from .tolerance import PRECISIONS, TENSOR_CORES, Precision, Sums

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Case:
    """Sizes of a convolution."""

    n: int
    hw: tuple[int, int]
    c: int
    k: int
    rs: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: Padding = 0
    groups: int = 1

    @property
    def pq(self) -> tuple[int, int]:
        p, q = ((self.hw[i] + sum(sides(self.padding)[i]) - self.rs[i]) // self.stride[i] + 1 for i in (0, 1))
        return p, q

    @property
    def options(self) -> dict[str, Any]:
        return {"stride": self.stride, "padding": self.padding, "groups": self.groups}

    def arrays(self, seed: int = 1) -> tuple[Array, Array, Array, Array]:
        """x, weight, bias and dy, normal, in float64."""
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((self.n, *self.hw, self.c))
        weight = rng.standard_normal((self.k, *self.rs, self.c // self.groups))
        return x, weight, rng.standard_normal(self.k), rng.standard_normal((self.n, *self.pq, self.k))


# The CPU cuts a batch into tiles of 64 to 700 output positions: larger images into rows, small ones are put together.
CASES = {
    "lopsided": Case(1, (7, 6), 4, 6, (3, 2), (2, 1), (1, 0), 2),
    "lopsided, batch of 3": Case(3, (6, 7), 6, 4, (2, 3), (1, 2), (0, 1), 2),
    "one pixel": Case(1, (1, 1), 1, 1, (1, 1)),
    "filter as large as the input": Case(2, (4, 3), 3, 2, (4, 3)),
    "padding wider than the filter": Case(2, (3, 4), 2, 3, (2, 3), (1, 2), (3, 4)),
    "unequal padding": Case(2, (6, 7), 4, 6, (3, 2), (2, 1), ((0, 2), (3, 1)), 2),
    "padding at the end": Case(1, (8, 7), 3, 4, (3, 3), (2, 2), ((0, 1), (0, 2))),
    "stride beyond the filter": Case(2, (8, 9), 2, 4, (2, 1), (3, 4), (1, 2), 2),
    "a rest no filter reaches": Case(1, (20, 18), 3, 4, (11, 11), (4, 4)),
    "a group a channel": Case(2, (5, 4), 3, 6, (3, 3), (1, 1), (1, 1), 3),
    "an image one row past a tile": Case(2, (3, 22), 2, 4, (3, 2), (1, 1), (1, 1), 2),
    "rows of a stride": Case(2, (15, 27), 2, 4, (3, 2), (2, 1), (1, 0), 2),
    "the same without padding": Case(1, (7, 14), 2, 2, (3, 2)),
    "one image past a tile": Case(7, (5, 4), 2, 4, (2, 1), (1, 1), (1, 0), 2),
    "past the largest tile": Case(4, (28, 26), 1, 2, (2, 1), (1, 1), (0, 0)),
    "past the largest tile, padded": Case(4, (27, 25), 2, 2, (2, 2), (1, 1), (1, 1), 2),
    "more images than lanes": Case(9, (11, 10), 1, 1, (2, 2), (1, 1), (1, 0)),
}
# The kernels' tiles are 16 to 128 rows and columns of the product, 32 or 64 deep in a pipeline of 3 or 4; operands of
# whole chunks of 4 or 8 channels are read in vectors, odd channels of one dense group are folded. Rows, columns and
# depth of fprop are N P Q, K / groups and R S C / groups.
TILED = {
    "17 rows, 65 columns": Case(1, (1, 17), 8, 65, (1, 1)),
    "65 rows, 97 columns": Case(1, (13, 5), 24, 97, (1, 1)),
    "97 rows, 129 columns": Case(1, (97, 1), 16, 129, (1, 1)),
    "129 rows, 136 columns": Case(3, (43, 1), 8, 136, (1, 1)),
    "one past the pipeline": Case(1, (6, 5), 16, 8, (17, 1), (2, 1), (8, 0)),
    "vectors": Case(3, (13, 12), 32, 32, (3, 2), (2, 1), (1, 0), 2),
    "vectors, unequal padding": Case(2, (9, 8), 32, 32, (3, 2), (2, 1), ((0, 3), (1, 0)), 2),
    "vectors, then odd columns": Case(2, (7, 6), 32, 30, (3, 2), (2, 1), (1, 0), 2),
    "odd channels, then vectors": Case(2, (7, 6), 6, 32, (3, 2), (2, 1), (1, 0), 2),
    "scalar loads, many of all": Case(2, (9, 11), 75, 69, (3, 2), (1, 1), (1, 1), 3),
    "folded": Case(2, (9, 8), 3, 8, (3, 2), (2, 1), (1, 0)),
    "folded, stride beyond the filter": Case(2, (9, 10), 5, 16, (2, 1), (3, 4), (1, 2)),
    "folded, zeros below and right": Case(1, (20, 18), 3, 8, (11, 11), (4, 4), ((0, 3), (0, 3))),
    "folded, odd columns": Case(1, (20, 18), 3, 12, (11, 11), (4, 4), (2, 2)),
}
ALEXNET = {
    "conv1": Case(1, (227, 227), 3, 96, (11, 11), (4, 4)),
    "conv2": Case(1, (27, 27), 96, 256, (5, 5), (1, 1), (2, 2), 2),
    "conv3": Case(1, (13, 13), 256, 384, (3, 3), (1, 1), (1, 1)),
    "conv4": Case(1, (13, 13), 384, 384, (3, 3), (1, 1), (1, 1), 2),
    "conv5": Case(1, (13, 13), 384, 256, (3, 3), (1, 1), (1, 1), 2),
}
ALL = {**CASES, **TILED, "empty batch": Case(0, (7, 6), 4, 6, (3, 2), (2, 1), (1, 0), 2)}
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
all_cases = pytest.mark.parametrize("case", ALL.values(), ids=ALL)
layers = pytest.mark.parametrize("case", ALEXNET.values(), ids=ALEXNET)


@lru_cache(maxsize=16)
def rounded(case: Case, precision: str) -> tuple[Array, Array, Array]:
    """x, weight and dy as the operations get them."""
    x, weight, _, dy = (PRECISIONS[precision].array(a) for a in case.arrays())
    return x, weight, dy


def wide(case: Case, precision: str) -> tuple[Array, Array, Array]:
    """The same in float64."""
    x, weight, dy = (a.astype(np.float64) for a in rounded(case, precision))
    return x, weight, dy


@lru_cache(maxsize=64)
def fprop_sums(case: Case, precision: str, kernels: bool) -> Sums:
    (x, weight, _), depth = wide(case, precision), case.rs[0] * case.rs[1] * case.c // case.groups
    squares = conv2d.fprop(x**2, weight**2, **case.options)
    units = unit_roundoffs(precision, kernels).dot(depth, squares)
    return Sums(conv2d.fprop(x, weight, **case.options), units, depth)


@lru_cache(maxsize=64)
def dgrad_sums(case: Case, precision: str, kernels: bool) -> Sums:
    (x, weight, dy), depth = wide(case, precision), case.rs[0] * case.rs[1] * case.k // case.groups
    squares = conv2d.dgrad(dy**2, weight**2, x.shape, **case.options)
    units = unit_roundoffs(precision, kernels).dot(depth, squares)
    return Sums(conv2d.dgrad(dy, weight, x.shape, **case.options), units, depth)


@lru_cache(maxsize=64)
def wgrad_sums(case: Case, precision: str, kernels: bool) -> tuple[Sums, Sums]:
    """Of weight and bias."""
    (x, _, dy), depth = wide(case, precision), case.n * case.pq[0] * case.pq[1]
    squares = conv2d.wgrad(x**2, dy**2, case.rs, **case.options)
    values = conv2d.wgrad(x, dy, case.rs, **case.options)
    # The bias's gradient is added up without tensor cores.
    units = (unit_roundoffs(precision, kernels).dot(depth, squares[0]), PRECISIONS[precision].dot(depth, squares[1]))
    return Sums(values[0], units[0], depth), Sums(values[1], units[1], depth)


def unit_roundoffs(precision: str, kernels: bool) -> Precision:
    return (TENSOR_CORES if kernels else PRECISIONS)[precision]


def check_fprop(backend: Backend, p: Precision, case: Case, form: FpropForm, place: str = "to_device") -> Any:
    x, weight, _ = (getattr(backend, place)(a) for a in rounded(case, p.name))

    def call(**options: Any) -> Any:
        return conv2d.fprop(x, weight, precision=p.option, **case.options, **options)

    return form.check(backend, p, fprop_sums(case, p.name, backend.kernels), call, place)


def check_dgrad(backend: Backend, p: Precision, case: Case, form: DgradForm, place: str = "to_device") -> Any:
    x, weight, dy = rounded(case, p.name)
    given = [getattr(backend, place)(a) for a in (dy, weight)]

    def call(**options: Any) -> Any:
        return conv2d.dgrad(*given, x.shape, precision=p.option, **case.options, **options)

    return form.check(backend, p, dgrad_sums(case, p.name, backend.kernels), call, place)


def check_wgrad(backend: Backend, p: Precision, case: Case, form: WgradForm, place: str = "to_device") -> list[Any]:
    x, _, dy = rounded(case, p.name)
    # The sums over dy that make the bias's gradient need it on 16 bytes.
    given = getattr(backend, place)(x), getattr(backend, "to_device" if form.bias else place)(dy)

    def call(**options: Any) -> Any:
        return conv2d.wgrad(*given, case.rs, precision=p.option, **case.options, **options)

    return form.check(backend, p, *wgrad_sums(case, p.name, backend.kernels), call, place)
