"""``alexnet-cuda evaluate``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from ..base.wording import counted
from ..train.setup import MAX_BROKEN
from .options import devices_option, emit, json_option, load_model, max_broken_option, place, views_option

if TYPE_CHECKING:
    from ..data import ImageSource
    from ..model import Model
    from ..train.evaluation import Evaluation


@click.command()
@click.argument("checkpoint", type=place)
@click.argument("source", type=place)
@views_option
@click.option("--held-out", is_flag=True, help="Only the images of SOURCE that its training run held out.")
@click.option("--batch-size", type=int, default=128, show_default=True, metavar="N", help="Images at a time.")
@max_broken_option
@devices_option
@json_option
def evaluate(
    checkpoint: str,
    source: str,
    views: int,
    held_out: bool,
    batch_size: int,
    max_broken: float,
    devices: str | tuple[str, ...] | None,
    as_json: bool,
) -> int:
    """Print the top-1 and top-5 error of CHECKPOINT on the images of SOURCE (see train)."""
    model = load_model(checkpoint, devices)
    result, images = evaluate_on(model, checkpoint, source, views, held_out, batch_size, max_broken)
    emit(_as_json(result, views, images.ignored) if as_json else _as_text(result, images.ignored))
    return 0


def evaluate_on(
    model: Model,
    checkpoint: str,
    source: str,
    views: int = 1,
    held_out: bool = False,
    batch_size: int = 128,
    max_broken: float = MAX_BROKEN,
) -> tuple[Evaluation, ImageSource]:
    """What a checkpoint's model makes of the images of a source, or of those held out, and these."""
    from ..data import BrokenImages, Loader, open_source
    from ..train.evaluation import evaluate as run

    images = open_source(source, minimum_classes=1)
    broken = BrokenImages(max_broken, images)  # also where a part alone is looked at, as in its training run
    if held_out:
        images = _held_out(checkpoint, images)
    images = _with_classes_of(model, images)
    side, mode = model.config.resize, model.config.resize_mode
    loader = Loader(images, side, batch_size, shuffle=False, cache_bytes=0, max_broken=broken, mode=mode)
    result = run(model, loader, views)
    assert result is not None
    return result, images


def _held_out(checkpoint: str, images: ImageSource) -> ImageSource:
    from ..checkpoint import load_checkpoint
    from ..data import split
    from ..data.fingerprint import difference, fingerprint
    from ..train.setup import read_run

    recipe, _, sources, _ = read_run(load_checkpoint(checkpoint))
    if not recipe.validation_split:
        raise ValueError(f"{checkpoint} does not come from a run that held images out")
    _, part = split(images, recipe.validation_split, recipe.seed)
    if found := difference(sources["validating"], fingerprint(part)):
        raise ValueError(f"{images.name} does not hold the images that the run of {checkpoint} held out ({found})")
    return part


def _with_classes_of(model: Model, images: ImageSource) -> ImageSource:
    from ..data import align

    if model.class_names is not None:
        return align(images, model.class_names)
    if len(images.classes) != model.config.num_classes:
        raise ValueError(
            f"the checkpoint does not name its {model.config.num_classes} classes, and {images.name} has "
            f"{len(images.classes)}"
        )
    return images


def _as_text(result: Evaluation, ignored: tuple[str, ...]) -> str:
    few = "not meaningful with five classes or fewer"
    lines = [
        f"images       {result.images}",
        f"top-1 error  {result.top1_error:.2%}",
        f"top-5 error  {few if result.top5_error is None else format(result.top5_error, '.2%')}",
        f"loss         {result.loss:.4f}",
    ]
    if result.skipped:
        lines.append(f"skipped      {counted(len(result.skipped), 'file')} that cannot be decoded:")
        lines += [f"  {name}: {reason}" for name, reason in result.skipped.items()]
    lines += [f"ignored      {sentence}" for sentence in ignored]
    return "\n".join(lines)


def _as_json(result: Evaluation, views: int, ignored: tuple[str, ...]) -> str:
    return json.dumps(
        {
            "images": result.images,
            "views": views,
            "top1_error": result.top1_error,
            "top5_error": result.top5_error,
            "loss": result.loss,
            "skipped": result.skipped,
            "ignored": ignored,
        },
        allow_nan=False,
    )
