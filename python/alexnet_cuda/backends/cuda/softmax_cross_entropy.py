"""Softmax and cross-entropy on the GPU; logits [N, classes], labels int64 [N]."""

from __future__ import annotations

from ._runtime import Array, addresses, empty, extension, stream


def fprop(logits: Array, labels: Array, scale: float, dlogits: Array | None) -> tuple[Array, Array]:
    """Per-image loss ``log(sum exp(x)) - x[label]`` and whether the first largest logit is the label's.

    Writes ``scale * (softmax - onehot)`` to `dlogits` where given, which may be `logits`. A label outside
    [0, classes) gives a loss and gradient of NaN.

    Returns
    -------
    loss : float32 array [N]
    correct : bool array [N]
    """
    rows, classes = logits.shape
    loss, correct = empty(rows, "float32"), empty(rows, "bool")
    extension().softmax_cross_entropy(
        **addresses(logits=logits, labels=labels, loss=loss, correct=correct, dlogits=dlogits),
        rows=rows,
        classes=classes,
        scale=scale,
        dtype=logits.dtype.name,
        stream=stream(),
    )
    return loss, correct
