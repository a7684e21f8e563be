"""``alexnet-cuda predict``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from .options import complain, devices_option, emit, json_option, load_model, place, views_option

if TYPE_CHECKING:
    import numpy as np

    from ..model import Model

_BATCH = 32


@click.command()
@click.argument("checkpoint", type=place)
@click.argument("images", nargs=-1, required=True, type=place, metavar="IMAGE...")
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, metavar="N", help="Classes to print.")
@views_option
@devices_option
@json_option
def predict(
    checkpoint: str,
    images: tuple[str, ...],
    top: int,
    views: int,
    devices: str | tuple[str, ...] | None,
    as_json: bool,
) -> int:
    """Print the most probable classes of each IMAGE file, with their probabilities.

    An image that cannot be read is named on standard error, the others are still predicted, and the exit code is 1.
    """
    model = load_model(checkpoint, devices)
    results: list[dict[str, Any]] = []
    for start in range(0, len(images), _BATCH):
        files = images[start : start + _BATCH]
        try:
            part = _predict(model, files, top, views)
        except MemoryError:
            if len(files) == 1:
                raise
            part = [result for file in files for result in _predict(model, (file,), top, views)]
        for result in part:
            if "error" in result:
                complain(f"error: {result['error']}")
            elif not as_json:
                emit(_as_text(result))
        results += part
    if as_json:
        emit(json.dumps(results, allow_nan=False))
    return 1 if any("error" in result for result in results) else 0


def _predict(model: Model, files: tuple[str, ...], top: int, views: int) -> list[dict[str, Any]]:
    """Give for each file what it shows, or why it cannot be read."""
    import numpy as np

    from ..data import read_square

    squares: dict[int, np.ndarray] = {}
    results: list[dict[str, Any]] = [{"image": file} for file in files]
    for index, file in enumerate(files):
        try:
            squares[index] = read_square(file, model.config.resize, mode=model.config.resize_mode)
        except (ValueError, OSError, MemoryError) as error:
            results[index]["error"] = _reason(file, error)
    if squares:
        count = min(top, model.config.num_classes)
        classes, probabilities = model.predict(np.stack(list(squares.values())), top=count, views=views)
        for row, index in enumerate(squares):
            results[index]["classes"] = [
                {"class": _name(model, label), "label": label, "probability": probability}
                for label, probability in zip(classes[row].tolist(), probabilities[row].tolist(), strict=True)
            ]
    return results


def _reason(file: str, error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{file}: {error.strerror}"
    return f"{file}: out of memory to decode it" if isinstance(error, MemoryError) else str(error)


def _name(model: Model, label: int) -> str:
    return str(label) if model.class_names is None else model.class_names[label]


def _as_text(result: dict[str, Any]) -> str:
    rows = [f"  {entry['probability']:8.3%}  {entry['class']}" for entry in result["classes"]]
    return "\n".join([result["image"], *rows])
