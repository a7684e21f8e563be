"""Loss, update, dropout and augmentation: all bound by bytes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from alexnet_cuda.base import philox
from alexnet_cuda.network import views
from alexnet_cuda.ops import augment, dropout, sgd, softmax_cross_entropy

from ..harness.cases import CLASSES, CONFIG, Array, Case, Tensor, Tensors
from .base import WEIGHT_SCALE, Arrays, Operation, Part, sgd_parameters, some, updated_tensors, upload_rate


class SoftmaxCrossEntropy(Operation):
    """Logits [N, classes] and labels [N] to the gradient by the logits, scaled by 1 / N."""

    def tensors(self, case: Case) -> Tensors:
        logits = Tensor("NK", (case.batch, CLASSES), case.dtype)
        dlogits = dataclasses.replace(logits, role="output")
        return {"logits": logits, "labels": Tensor("N", (case.batch,), "int64"), "dlogits": dlogits}

    def call(self, case: Case, a: Arrays) -> None:
        softmax_cross_entropy.fprop(a["logits"], a["labels"], scale=1.0 / case.batch, dlogits=a["dlogits"])


class Sgd(Operation):
    """The update of fc6's weights, the largest tensor of the network, from a float32 gradient."""

    def cases(self, batch: int, precision: str) -> list[Case]:
        """The same work at every batch size: measured once, at the smallest."""
        return super().cases(batch, precision) if batch == 128 else []

    def tensors(self, case: Case) -> Tensors:
        shape = case.step.weight_shape
        return {"gradient": Tensor("KC", shape, "float32", scale=WEIGHT_SCALE), **updated_tensors(case, "KC", shape)}

    def prepare(self, case: Case, a: Arrays, upload: Callable[[Array], Any], part: Part) -> None:
        upload_rate(a, upload)

    def call(self, case: Case, a: Arrays) -> None:
        sgd.update(sgd_parameters(a), a["gradient"])

    def part(self, case: Case) -> Part:
        return {"K": some(case.step.weight_shape[0], 8)}


class Dropout(Operation):
    """fc6's output [N, 4096] with its mask drawn on the way; in the network it is part of other kernels."""

    def tensors(self, case: Case) -> Tensors:
        x = Tensor("NK", (case.batch, case.step.output[0]), case.dtype)
        return {"x": x, "y": dataclasses.replace(x, role="output")}

    def prepare(self, case: Case, a: Arrays, upload: Callable[[Array], Any], part: Part) -> None:
        """The step number, where the kernel reads it."""
        a["step"] = upload(np.zeros(1, np.uint64))

    def call(self, case: Case, a: Arrays) -> None:
        """One call; an opponent draws its own mask and gives its result another name."""
        key = {"seed": 1, "purpose": int(philox.Purpose.DROPOUT), "step": a["step"], "row_stride": a["x"].shape[1]}
        dropout.apply(a["x"], dropout.parameters(CONFIG.dropout, **key), out=a["y"])


class Augment(Operation):
    """From uint8 images [N, 256, 256, 3], of which the crops are read, to conv1's input [N, 227, 227, 3]."""

    def tensors(self, case: Case) -> Tensors:
        size, whole = CONFIG.image_size, CONFIG.resize
        x = Tensor("NPQC", (case.batch, size, size, 3), case.dtype, "output")
        images = Tensor("NHWC", (case.batch, whole, whole, 3), "uint8", needed=case.batch * size * size * 3)
        return {"images": images, "x": x}

    def prepare(self, case: Case, a: Arrays, upload: Callable[[Array], Any], part: Part) -> None:
        """Crops, mirroring and colour of every image, where the kernel reads them."""
        views_ = views.random_views((case.batch, CONFIG.resize, CONFIG.resize, 3), CONFIG, 0)
        chosen = part.get("N", np.arange(case.batch))
        fields = {n: upload(getattr(views_, n)[chosen]) for n in ("top", "left", "mirrored", "shift")}
        a["views"] = dataclasses.replace(views_, **fields)

    def call(self, case: Case, a: Arrays) -> None:
        options = {"mean": CONFIG.mean, "std": CONFIG.std, "channel_order": CONFIG.channel_order}
        augment.fprop(a["images"], a["views"], out=a["x"], **options)

    def part(self, case: Case) -> Part:
        return {"N": some(case.batch, 8)}


SOFTMAX_CROSS_ENTROPY = SoftmaxCrossEntropy("softmax_cross_entropy", ("fprop",), ("logits",))
SGD = Sgd("sgd", ("update",), ("fc6",))
DROPOUT = Dropout("dropout", ("apply",), ("fc6",))
AUGMENT = Augment("augment", ("fprop",), ("input",))
