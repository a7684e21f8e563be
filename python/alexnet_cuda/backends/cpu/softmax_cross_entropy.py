"""Softmax and cross-entropy on the CPU; logits [N, classes], labels int64 [N]."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def softmax(logits: Array) -> Array:
    """Probabilities [N, classes]: ``exp(x - max) / sum``, so no logit overflows."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: Array = exponentials / exponentials.sum(axis=1, keepdims=True)
    return result


def fprop(
    logits: Array,
    labels: npt.NDArray[np.int64],
    scale: float,
    dlogits: Array | None,
    first_column: int,
    loss: Array,
    correct: Array,
) -> None:
    """Write per-image loss ``log(sum exp(x)) - x[label]`` and whether the first largest logit is the label's.

    Writes ``scale * (softmax - onehot)``, of the columns from `first_column` on, to `dlogits` where given, which may
    be `logits`.
    """
    rows = np.arange(len(logits))
    first = logits.argmax(axis=1)
    shifted = logits - logits.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    total = exponentials.sum(axis=1)
    loss[...] = np.log(total) - shifted[rows, labels]
    correct[...] = (first == labels) & ~np.isnan(loss)
    if dlogits is not None:
        gradient = np.divide(exponentials, total[:, None], out=exponentials)
        gradient[rows, labels] -= 1
        np.multiply(gradient[:, first_column : first_column + dlogits.shape[1]], scale, out=dlogits)
