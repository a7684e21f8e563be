"""What an operation in the registry has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from alexnet_cuda.ops.sgd import SgdParams

from ..harness.cases import Array, Case, Tensor, Tensors

Arrays = dict[str, Any]  # of one set, by name: tensors of the case and what `Operation.prepare` adds
Part = dict[str, Array]  # indices along some of the axes of a case's tensors, by their letter
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.01, 0.9, 5e-4
# Powers of two that scale random numbers, so that results are of the order of one and none overflows float16.
WEIGHT_SCALE, GRADIENT_SCALE = -5, -6


@dataclass(frozen=True)
class Operation:
    """An operation; this one has no FLOPs worth counting, multiplies nothing and is checked whole."""

    name: str  # of the module in `alexnet_cuda.ops`
    directions: tuple[str, ...]
    layers: tuple[str, ...]

    def cases(self, batch: int, precision: str) -> list[Case]:
        """Every direction of every layer; where nothing is multiplied, TF32 is float32 and not measured again."""
        if precision == "tf32" and not self.multiplies:
            return []
        return [Case(self.name, d, layer, batch, precision) for layer in self.layers for d in self.directions]

    @property
    def multiplies(self) -> bool:
        """Whether it is a matrix product."""
        return False

    def tensors(self, case: Case) -> Tensors:
        """All tensors of a case by name."""
        raise NotImplementedError

    def flops(self, case: Case) -> int:
        """Two a multiply-add."""
        return 2 * case.batch * case.step.multiply_adds if self.multiplies else 0

    def floor_bytes(self, case: Case) -> int:
        """What any implementation must move."""
        return sum(t.moved for t in self.tensors(case).values())

    def prepare(self, case: Case, a: Arrays, upload: Callable[[Array], Any], part: Part) -> None:
        """Add to the arrays what must be there before `call`; `part` says to what the case is cut."""

    def call(self, case: Case, a: Arrays) -> None:
        """One call of `alexnet_cuda.ops`; sizes are the arrays'."""
        raise NotImplementedError

    def part(self, case: Case) -> Part:
        """What the check looks at: along axes that are missing, everything."""
        return {}

    def product_sums(self, case: Case, a: Arrays) -> tuple[int, Array, float]:
        """Of a product the depth of its sums, the sums of the squares of what they add, and what they are scaled by."""
        raise NotImplementedError

    def partial_sums(self, case: Case, a: Arrays) -> dict[str, Array]:
        """How large what an opponent rounds on the way may be, where the outputs of the part in `a` may be less."""
        return {}

    def decided(self, case: Case, a: Arrays, tolerance: float) -> dict[str, Array]:
        """Where an output does not depend on which of nearly equal numbers is taken for the larger."""
        return {}


def some(extent: int, count: int) -> Array:
    """A few indices, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, extent - 1, count).astype(np.int64))


def updated_tensors(case: Case, axes: str, shape: tuple[int, ...]) -> Tensors:
    """What SGD updates of weights of a shape, and what it writes beside: the rounded copy of a 16-bit network."""
    updated = {n: Tensor(axes, shape, "float32", "updated", WEIGHT_SCALE) for n in ("master", "velocity")}
    return updated if case.dtype == "float32" else {**updated, "copy": Tensor(axes, shape, case.dtype, "output")}


def upload_rate(a: Arrays, upload: Callable[[Array], Any]) -> None:
    """Put the learning rate where a captured graph may read it."""
    a["rate"] = upload(np.array([LEARNING_RATE], np.float32))


def sgd_parameters(a: Arrays) -> SgdParams:
    """Our update of the weights in `a`."""
    return SgdParams(a["master"], a["velocity"], a["rate"], MOMENTUM, WEIGHT_DECAY, copy=a.get("copy"))
