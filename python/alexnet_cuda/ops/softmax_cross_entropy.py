"""Softmax with cross-entropy loss."""

from __future__ import annotations

import numpy as np

from ._dispatch import Array, accumulator_dtype, backend, check, integers, output


def fprop(
    logits: Array,
    labels: Array,
    *,
    scale: float = 1.0,
    dlogits: Array | None = None,
    first_column: int = 0,
    loss_out: Array | None = None,
    correct_out: Array | None = None,
) -> tuple[Array, Array]:
    """Loss and correctness of each image and, where `dlogits` is given, ``scale * (softmax - onehot)`` written to it.

    Parameters
    ----------
    logits : array [N, classes]
    labels : int64 array [N]
        Each in [0, classes); the caller checks that.
    dlogits : array [N, columns], optional
        The gradient of the columns from `first_column` on. It may be `logits`; of float32 logits it may be bfloat16 or
        float16.

    Returns
    -------
    loss : array [N]
        ``log(sum exp(logits)) - logits[label]``, stable for any finite logits; of the accumulator dtype.
    correct : bool array [N]
        Whether the first of the largest logits is the label's; False where a logit is NaN.

    Raises
    ------
    ValueError, TypeError
        Shapes or dtypes that do not fit together; no classes; columns beyond them.
    """
    check("logits", logits, (None, None))
    rows, classes = logits.shape
    if classes == 0:
        raise ValueError(f"logits must have at least one class, got shape {list(logits.shape)}")
    check("labels", labels, (rows,), np.int64)
    accumulator = accumulator_dtype(logits.dtype)
    (first_column,) = integers("first_column", first_column, 1, 0)
    if dlogits is not None:
        narrow = getattr(getattr(dlogits, "dtype", None), "name", "") in ("bfloat16", "float16")
        check("dlogits", dlogits, (rows, None), None if narrow and logits.dtype == np.float32 else logits.dtype)
        if first_column + dlogits.shape[1] > classes:
            raise ValueError(
                f"dlogits must hold columns of the {classes} classes, got {dlogits.shape[1]} from {first_column} on"
            )
        if dlogits is logits and (first_column or dlogits.shape != logits.shape):
            raise ValueError("dlogits may be logits only for all columns")
    loss = output(loss_out, logits, (rows,), accumulator, "loss_out")
    correct = output(correct_out, logits, (rows,), np.bool_, "correct_out")
    module = backend("softmax_cross_entropy", logits, labels, dlogits, loss, correct)
    module.fprop(logits, labels, scale, dlogits, first_column, loss, correct)
    return loss, correct
