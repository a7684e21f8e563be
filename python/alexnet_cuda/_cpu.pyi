"""What csrc/bindings/cpu_module.cpp has. Arrays are float32 of main memory, argmaxes uint8; None is no such array.

Every operation returns work, cut into tiles, that any number of threads run together.
"""

import numpy as np
import numpy.typing as npt

from .base.params import DropoutParams, LrnParams, PoolParams, SgdParams

_Array = npt.NDArray[np.float32]
_Bytes = npt.NDArray[np.uint8]
_Pair = tuple[int, int]

class Work:
    @property
    def tiles(self) -> int: ...
    @property
    def workspace_bytes(self) -> int: ...
    def run(self, workspace: int, packed: bool = False) -> None: ...

def instruction_sets() -> list[str]: ...
def selected() -> str: ...
def select(name: str) -> None: ...
def conv2d_fprop(
    x: _Array,
    weight: _Array,
    bias: _Array | None,
    addend: _Array | None,
    out: _Array,
    *,
    stride: _Pair,
    padding: _Pair,
    groups: int,
    activation: str,
) -> Work: ...
def conv2d_dgrad(
    dy: _Array,
    weight: _Array,
    mask: _Array | None,
    mask_scale: float,
    addend: _Array | None,
    out: _Array,
    *,
    stride: _Pair,
    padding: _Pair,
    groups: int,
) -> Work: ...
def conv2d_wgrad(
    x: _Array,
    dy: _Array,
    like: _Array,
    dweight: _Array | None,
    dbias: _Array | None,
    accumulate: bool,
    sgd: SgdParams | None,
    *,
    stride: _Pair,
    padding: _Pair,
    groups: int,
) -> Work: ...
def linear_fprop(
    x: _Array,
    weight: _Array,
    bias: _Array | None,
    addend: _Array | None,
    out: _Array,
    activation: str,
    keep: bool = False,
) -> Work: ...
def linear_dgrad(
    dy: _Array, weight: _Array, mask: _Array | None, mask_scale: float, addend: _Array | None, out: _Array
) -> Work: ...
def linear_wgrad(
    x: _Array,
    dy: _Array,
    like: _Array,
    dweight: _Array | None,
    dbias: _Array | None,
    accumulate: bool,
    sgd: SgdParams | None,
) -> Work: ...
def pool_fprop(
    x: _Array, out: _Array, argmax: _Bytes | None, window: LrnParams | None, pool: PoolParams | None
) -> Work: ...
def pool_bprop(
    dy: _Array,
    argmax: _Bytes | None,
    x: _Array | None,
    y: _Array | None,
    out: _Array,
    window: LrnParams | None,
    pool: PoolParams | None,
    relu: bool,
) -> Work: ...
def dropout_apply(x: _Array, out: _Array, dropout: DropoutParams, step: int) -> Work: ...
def sgd_update(sgd: SgdParams, gradient: _Array) -> Work: ...
