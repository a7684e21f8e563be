"""Softmax and cross-entropy; logits [N, classes], labels int64 [N]."""

from __future__ import annotations

from ...base.array import Array
from ._runtime import runtime_of


def fprop(
    logits: Array,
    labels: Array,
    scale: float,
    dlogits: Array | None,
    first_column: int,
    loss: Array,
    correct: Array,
) -> None:
    """Write per-image loss ``log(sum exp(x)) - x[label]`` and whether the first largest logit is the label's.

    Writes ``scale * (softmax - onehot)``, of the columns from `first_column` on, to `dlogits` where given, which may
    be `logits`. A label outside [0, classes) gives a loss and gradient of NaN.
    """
    arrays = {"logits": logits, "labels": labels, "loss": loss, "correct": correct, "dlogits": dlogits}
    runtime_of(logits).call("softmax_cross_entropy", arrays, first_column=first_column, scale=scale)
