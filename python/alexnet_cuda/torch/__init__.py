"""PyTorch: the operations as custom operators with autograd, and a model's weights as a module; see docs/pytorch.md.

The rest of the package does without PyTorch, which the extra ``torch`` brings.
"""

from __future__ import annotations

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError("alexnet_cuda.torch needs PyTorch: pip install 'alexnet-cuda[torch]'") from error

from .functional import conv2d, dropout, linear, lrn, lrn_max_pool, max_pool
from .module import as_module

__all__ = ["as_module", "conv2d", "dropout", "linear", "lrn", "lrn_max_pool", "max_pool"]
