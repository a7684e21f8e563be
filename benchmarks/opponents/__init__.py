"""The opponents, each at its best: cuDNN and cuBLAS ("library"), PyTorch ("torch").

Nothing is imported until one is prepared, and one whose library is not there says so and how to get it.
"""

from __future__ import annotations

from ..harness.bench import Contender, ours
from ..harness.cases import Case


def contenders(case: Case) -> list[Contender]:
    """All that take part in a case, ours first."""
    from . import cublas, cudnn_calls, cudnn_graph, torch_ops

    found = [ours(case)]
    for module in (cudnn_graph, cudnn_calls, cublas, torch_ops):
        found += module.contenders(case)
    return found
