"""``alexnet-cuda features``."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import click

from ..base.files import atomic_path
from ..base.wording import counted
from .options import complain, devices_option, emit, load_model, max_broken_option, place

if TYPE_CHECKING:
    import numpy as np

    from ..data import Loader
    from ..model import Model


@click.command()
@click.argument("checkpoint", type=place)
@click.argument("source", type=place)
@click.argument("out", type=place, metavar="OUT.npz")
@click.option("--layer", required=True, metavar="NAME", help="Whose output: conv1, lrn1, pool1, ..., fc7, fc8.")
@click.option("--batch-size", type=int, default=128, show_default=True, metavar="N", help="Images at a time.")
@max_broken_option
@devices_option
def features(
    checkpoint: str,
    source: str,
    out: str,
    layer: str,
    batch_size: int,
    max_broken: float,
    devices: str | tuple[str, ...] | None,
) -> int:
    """Write what CHECKPOINT's network makes of the images of SOURCE (see train) at a layer to OUT.npz.

    The file holds NumPy arrays: features [N, ...] of float32, labels [N], classes (the names of SOURCE's class folders,
    which labels index), paths [N] and layer. Of each image the network sees the centre crop.
    """
    import numpy as np

    from ..data import Loader, open_source
    from ..network.checks import check_layers

    if not out.endswith(".npz"):
        raise ValueError(f"OUT must end in .npz, got {out!r}")
    images = open_source(source, minimum_classes=1)
    model = load_model(checkpoint, devices)
    check_layers([layer], [step.name for step in model.plan.steps])
    side, mode = model.config.resize, model.config.resize_mode
    loader = Loader(images, side, batch_size, shuffle=False, cache_bytes=0, max_broken=max_broken, mode=mode)
    with atomic_path(out) as temporary, open(temporary, "wb") as stream:
        found, indices = _features(model, loader, layer)
        np.savez(
            stream,
            features=found,
            labels=images.labels[indices],
            classes=np.array(images.classes),
            paths=np.array([images.names[index] for index in indices]),
            layer=np.array(layer),
        )
    for name, reason in loader.skipped.items():
        complain(f"left out: {name}: {reason}")
    shape = "x".join(map(str, found.shape[1:]))
    emit(f"done: {layer} ({shape}) of {counted(len(found), 'image')}; {out}")
    return 0


def _features(model: Model, loader: Loader, layer: str) -> tuple[np.ndarray, np.ndarray]:
    """Give the features of all images that can be decoded, and the indices of these."""
    import numpy as np

    from ..network.checks import check_outputs
    from ..train.progress import make_reporter

    (output,) = (step.output for step in model.plan.steps if step.name == layer)
    total, done = len(loader.source), 0
    found: np.ndarray = np.empty((total, *output), model.towers[0].accumulator)
    indices = np.empty(total, np.int64)
    with (
        make_reporter() as reporter,
        contextlib.closing(loader.epoch(0)) as batches,
        contextlib.closing(model.prefetch(batches)) as ready,
    ):
        reporter.start(0, total, 0)
        for images, _, of_batch in ready:
            part, after = model.features(images, layer), done + len(images)
            check_outputs(part.reshape(len(part), -1), model.parameters)
            found[done:after], indices[done:after] = part, of_batch
            done = after
            reporter.images(done)
    return found[:done], indices[:done]
