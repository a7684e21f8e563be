"""Dropout by `_cpu`; the contract is `alexnet_cuda.backends.cpu.dropout`'s."""

from __future__ import annotations

from ....base.parallel import run
from ....base.params import DropoutParams
from ..dropout import Array
from . import extension


def apply(x: Array, p: DropoutParams, out: Array) -> None:
    """Write the masked and scaled `x` [rows, columns] to `out`, which may be `x`; the backward pass is the same."""
    step = p.step if isinstance(p.step, int) else int(p.step.item())
    run(extension().dropout_apply(x, out, p, step))
