"""Softmax with cross-entropy loss."""

from __future__ import annotations

import numpy as np

from ._dispatch import Array, backend, check


def fprop(logits: Array, labels: Array, *, scale: float = 1.0, dlogits: Array | None = None) -> tuple[Array, Array]:
    """Loss and correctness of each image and, where `dlogits` is given, ``scale * (softmax - onehot)`` written to it.

    Parameters
    ----------
    logits, dlogits : array [N, classes]
        `dlogits` may be `logits`.
    labels : int64 array [N]
        Each in [0, classes); the caller checks that.

    Returns
    -------
    loss : array [N]
        ``log(sum exp(logits)) - logits[label]``, stable for any finite logits.
    correct : bool array [N]
        Whether the first of the largest logits is the label's; False where a logit is NaN.
    """
    check("logits", logits, (None, None))
    if logits.shape[1] == 0:
        raise ValueError(f"logits must have at least one class, got shape {list(logits.shape)}")
    check("labels", labels, (logits.shape[0],), np.int64)
    if dlogits is not None:
        check("dlogits", dlogits, logits.shape, logits.dtype)
    loss, correct = backend("softmax_cross_entropy", logits, labels, dlogits).fprop(logits, labels, scale, dlogits)
    return loss, correct
