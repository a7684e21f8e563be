"""Grouped 2-D convolution: implicit GEMM on tensor cores; x [N, H, W, C], weight [K, R, S, C / groups].

The tensors x, y and weight may be ranges of the last dimension of wider ones. Bias and the gradients of weight and bias
are float32 whatever the precision: they belong to the weights that the optimiser keeps, of which `weight` is the copy
in x's dtype.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ...base.array import Array
from ...base.params import Conv2dShape, DropoutParams, FoldedLayout, SgdParams
from ..runtime import Runtime, dtype_name, pitch_of
from . import dropout as dropouts
from . import sgd as updates
from ._runtime import runtime_of


class Problem(NamedTuple):
    """A convolution as the extension plans it.

    Attributes
    ----------
    shape : Conv2dShape
    precision : {"float32", "tf32", "bfloat16", "float16"}
    pitch : (int, int, int)
        Of x, y and weight; 0 where dense.
    x_folded : bool
        Whether x is folded.
    """

    shape: Conv2dShape
    precision: str
    pitch: tuple[int, int, int] = (0, 0, 0)
    x_folded: bool = False


def fprop(
    x: Array,
    weight: Array,
    bias: Array | None,
    s: Conv2dShape,
    activation: str,
    out: Array,
    *,
    addend: Array | None = None,
    dropout: DropoutParams | None = None,
    precision: str | None = None,
    folded: FoldedLayout | None = None,
) -> None:
    """Write the convolution, plus addend and bias, through activation and dropout, to `out` [N, P, Q, K]."""
    runtime = runtime_of(x)
    arrays = {"x": x, "weight": weight, "bias": bias, "addend": addend, "y": out}
    arrays["dropout_step"] = None if dropout is None else dropouts.step(runtime, dropout, "dropout.step")
    problem = _problem(s, precision, x, out, weight, folded)
    _call(runtime, "fprop", problem, arrays, activation=activation, dropout=dropout)


def dgrad(
    dy: Array,
    weight: Array,
    s: Conv2dShape,
    out: Array,
    *,
    mask: Array | None = None,
    mask_scale: float = 1.0,
    addend: Array | None = None,
    precision: str | None = None,
) -> None:
    """Write the gradient by the input, plus addend, through the mask, to `out` [N, H, W, C]."""
    arrays = {"dy": dy, "weight": weight, "mask": mask, "addend": addend, "dx": out}
    problem = _problem(s, precision or dtype_name(dy.dtype), out, dy, weight)
    _call(runtime_of(dy), "dgrad", problem, arrays, mask_scale=mask_scale)


def wgrad(
    x: Array,
    dy: Array,
    s: Conv2dShape,
    dweight: Array | None,
    dbias: Array | None,
    *,
    accumulate: bool = False,
    sgd: SgdParams | None = None,
    precision: str | None = None,
    folded: FoldedLayout | None = None,
) -> None:
    """Write the gradients by weights [K, R, S, C / groups] and bias [K], or update the weights by the former."""
    runtime = runtime_of(x)
    state = dict.fromkeys(updates.ARRAYS) if sgd is None else updates.arrays(runtime, sgd, "sgd.learning_rate")
    arrays = {"x": x, "dy": dy, "dweight": dweight, "dbias": dbias, **{f"sgd_{n}": a for n, a in state.items()}}
    problem = _problem(s, precision, x, dy, dweight if sgd is None else sgd.weight, folded)
    _call(runtime, "wgrad", problem, arrays, accumulate=accumulate, sgd=sgd)


def _problem(
    s: Conv2dShape, precision: str | None, x: Array, y: Array, weight: Array, folded: FoldedLayout | None = None
) -> Problem:
    """`x`, `y` and `weight` stand for themselves or for their gradients."""
    pitch = (pitch_of(x), pitch_of(y), pitch_of(weight))
    return Problem(s, precision or dtype_name(x.dtype), pitch, folded is not None)


def _call(runtime: Runtime, direction: str, problem: Problem, arrays: dict[str, Array | None], **options: Any) -> None:
    size = runtime.module.conv2d_workspace_bytes(problem=problem, direction=direction)
    arrays["workspace"] = runtime.workspace(size)
    runtime.call(f"conv2d_{direction}", arrays, problem=problem, **options)
