"""Softmax, loss and the gradient by the logits in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..harness.cases import Case, Tensor, Tensors
from ..harness.check import Sample, choose
from ..harness.values import CLASSES, Values

DIRECTIONS = ("fprop",)


def cases(batch: int, precision: str) -> list[Case]:
    """On fc8's logits; float32 once."""
    return [] if precision == "tf32" else [Case("softmax_cross_entropy", "fprop", "logits", batch, precision)]


def tensors(case: Case) -> Tensors:
    """logits [N, classes] and labels [N]; dlogits scaled by 1 / N."""
    logits = Tensor((case.batch, CLASSES), case.dtype)
    return Tensors({"logits": logits, "labels": Tensor((case.batch,), "int64")}, {"dlogits": logits})


def flops(case: Case) -> int:
    """Not counted: bytes bound it."""
    return 0


def launch(case: Case) -> dict[str, Any]:
    """Grid of our kernel."""
    from alexnet_cuda import _simt

    return dict(_simt.softmax_cross_entropy_config(rows=case.batch, classes=CLASSES))


def prepare(case: Case, a: Any) -> None:
    """Nothing to do."""


def ours(case: Case, a: Any) -> None:
    """One call."""
    from alexnet_cuda.ops import softmax_cross_entropy

    softmax_cross_entropy.fprop(a["logits"], a["labels"], scale=1.0 / case.batch, dlogits=a["dlogits"])


def samples(case: Case, values: dict[str, Values], rng: np.random.Generator) -> list[Sample]:
    """Some elements of the gradient in float64."""
    index, (row, column) = choose(rng, (case.batch, CLASSES))
    logits = values["logits"].at(row[:, None], np.arange(CLASSES))
    power = np.exp(logits - logits.max(axis=1, keepdims=True))
    softmax = power[np.arange(len(row)), column] / power.sum(axis=1)
    label = (values["labels"].at(row) == column).astype(np.float64)
    # Exponentials of differences up to 10 by approximate instructions: relative error below 32 units.
    terms = 64 * (softmax + label) / case.batch
    return [Sample("dlogits", index, (softmax - label) / case.batch, terms)]
