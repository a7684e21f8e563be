"""SGD with momentum and weight decay by `_cpu`; the contract is `alexnet_cuda.backends.cpu.sgd`'s."""

from __future__ import annotations

from ....base.parallel import run
from ....base.params import SgdParams
from ..sgd import Array
from . import extension


def update(p: SgdParams, gradient: Array) -> None:
    """``v <- momentum v - weight_decay lr w - lr g; w <- w + v``, in place; see `SgdParams`."""
    run(extension().sgd_update(p, gradient))
    if p.copy is not None:
        p.copy[...] = p.weight
