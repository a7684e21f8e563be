"""From uint8 images to conv1's input: crop, mirror, colour shift, mean, in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np

from alexnet_cuda.config import Config

from ..harness.cases import Case, Tensor, Tensors
from ..harness.check import Sample, choose
from ..harness.values import Values

DIRECTIONS = ("fprop",)
_CONFIG = Config()


def cases(batch: int, precision: str) -> list[Case]:
    """float32 once."""
    return [] if precision == "tf32" else [Case("augment", "fprop", "input", batch, precision)]


def tensors(case: Case) -> Tensors:
    """images [N, 256, 256, 3], of which the crops are read; x [N, 227, 227, 3]."""
    size, whole = _CONFIG.image_size, _CONFIG.resize
    images = Tensor((case.batch, whole, whole, 3), "uint8", counted=False)
    x = Tensor((case.batch, size, size, 3), case.dtype)
    return Tensors({"images": images}, {"x": x}, part_bytes=x.size)


def flops(case: Case) -> int:
    """Not counted: bytes bound it."""
    return 0


def launch(case: Case) -> dict[str, Any]:
    """Grid and vector width of our kernel."""
    from alexnet_cuda import _simt

    elements = 3 * _CONFIG.image_size**2
    return dict(_simt.augment_config(images=case.batch, elements=elements, dtype=case.dtype, aligned=True))


def _views(case: Case) -> Any:
    from alexnet_cuda.network import views

    return views.random_views((case.batch, _CONFIG.resize, _CONFIG.resize, 3), _CONFIG, 0)


def prepare(case: Case, a: Any) -> None:
    """Crops, mirroring and colour of every image, where the kernel reads them."""
    chosen = _views(case)
    fields = ("top", "left", "mirrored", "shift")
    a.kept["views"] = type(chosen)(**{name: a.upload(getattr(chosen, name)) for name in fields})


def ours(case: Case, a: Any) -> None:
    """One call."""
    from alexnet_cuda.ops import augment

    c = _CONFIG
    augment.fprop(a["images"], a.kept["views"], mean=c.mean, std=c.std, channel_order=c.channel_order, out=a["x"])


def samples(case: Case, values: dict[str, Values], rng: np.random.Generator) -> list[Sample]:
    """Some elements in float64."""
    size, chosen = _CONFIG.image_size, _views(case)
    index, (n, h, w, c) = choose(rng, (case.batch, size, size, 3))
    column = np.where(chosen.mirrored[n], size - 1 - w, w)
    pixel = values["images"].at(n, h + chosen.top[n], column + chosen.left[n], c)
    shift = chosen.shift[n, c].astype(np.float64)
    mean, std = np.asarray(_CONFIG.mean)[c], np.asarray(_CONFIG.std)[c]
    return [Sample("x", index, (pixel + shift - mean) / std, 4 * (pixel + np.abs(shift) + mean) / std)]
