"""Pictures of a run: the curves of loss and accuracy, and the filters of conv1."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from ..base.files import CURVES_NAME, FILTERS_NAME, METRICS_NAME, atomic_path
from ..pages.pictures import figure, save
from .metrics import is_epoch, read_metrics

_POINTS = 500
_COLUMNS = 16
_SCALE = 4
_GAP = 4


def plot_curves(folder: Path) -> Path:
    """Draw loss and accuracy of the run in `folder` over its epochs, from its metrics, and give the PNG's path.

    Raises
    ------
    ImportError
        When matplotlib is missing.
    """
    drawn, ((loss, accuracy),) = figure(1, 2, 10, 4)
    steps, epochs = _read(folder / METRICS_NAME)
    loss.plot(steps[:, 0], steps[:, 1], color="0.75", linewidth=1, label="training, steps")
    if len(epochs):
        for axes, columns in ((loss, (1, 3)), (accuracy, (2, 4))):
            axes.plot(epochs[:, 0], epochs[:, columns[0]], marker=".", label="training")
            axes.plot(epochs[:, 0], epochs[:, columns[1]], marker=".", label="validation")
    loss.set(title="Loss", xlabel="epoch", ylabel="cross-entropy", ylim=(0, None))
    accuracy.set(title="Accuracy", xlabel="epoch", ylim=(0, 1), xlim=loss.get_xlim())
    for axes in (loss, accuracy):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    return folder / save(drawn, folder / CURVES_NAME)


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Give (epoch, loss) of at most `_POINTS` means over equal numbers of steps, and the epochs' records.

    A null is NaN, which matplotlib leaves out.
    """
    losses: list[float] = []
    epochs: list[list[float]] = []
    steps_per_epoch = 0.0
    for record in read_metrics(path):
        if is_epoch(record):
            epochs.append(
                [_number(record.get(key)) for key in ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")]
            )
            steps_per_epoch = record["step"] / record["epoch"]
        else:
            losses.append(_number(record.get("loss")))
    size = -(-len(losses) // _POINTS) or 1
    means = [float(np.mean(losses[start : start + size])) for start in range(0, len(losses), size)]
    middle = [min(start + size / 2, len(losses)) for start in range(0, len(losses), size)]
    # Before the first epoch has ended its length is not known: the run so far is drawn as one.
    points = np.array([middle, means]).T.reshape(-1, 2)
    points[:, 0] /= steps_per_epoch or max(1, len(losses))
    return points, np.array(epochs).reshape(-1, 5)


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def filter_grid(weight: np.ndarray, towers: int, channel_order: str = "RGB") -> np.ndarray:
    """Lay filters out as one image, the first tower's above the second's (paper, figure 3).

    Parameters
    ----------
    weight
        float [K, R, S, 3], the first tower's rows first.
    towers
        1 or 2.
    channel_order
        ``RGB`` or ``BGR``, of the last axis.

    Returns
    -------
    uint8 [height, width, 3]
        RGB; each filter scaled so that its least value is 0 and its greatest 255.
    """
    filters = np.asarray(weight, np.float64)
    if channel_order == "BGR":
        filters = filters[..., ::-1]
    least = filters.min(axis=(1, 2, 3), keepdims=True)
    span = filters.max(axis=(1, 2, 3), keepdims=True) - least
    pixels = np.rint(255 * (filters - least) / np.where(span > 0, span, 1)).astype(np.uint8)
    return tiles(pixels, towers, _COLUMNS, _SCALE)


def tiles(pixels: np.ndarray, towers: int, columns: int, scale: int) -> np.ndarray:
    """Lay images [K, height, width] or [K, height, width, 3] out as one, rows of the first tower above the second's.

    Each pixel becomes `scale` a side. Where there are more images than `columns` a row is full.
    """
    pixels = pixels.repeat(scale, axis=1).repeat(scale, axis=2)
    count, height, width = pixels.shape[:3]
    per_tower = -(-count // towers)
    columns = min(columns, per_tower)
    rows = -(-per_tower // columns)
    cell = (height + _GAP, width + _GAP)
    # A wider gap parts the towers.
    size = (towers * rows * cell[0] + _GAP * (2 * towers - 1), columns * cell[1] + _GAP)
    grid = np.full((*size, *pixels.shape[3:]), 255, np.uint8)
    for index in range(count):
        tower, place = divmod(index, per_tower)
        top = _GAP + tower * (rows * cell[0] + 2 * _GAP) + place // columns * cell[0]
        left = _GAP + place % columns * cell[1]
        grid[top : top + height, left : left + width] = pixels[index]
    return grid


def colour_shares(weight: np.ndarray, towers: int) -> list[float]:
    """Of the filters [K, R, S, 3] of each tower: the mean share of their squares that is colour, not grey."""
    grey = weight.mean(axis=3, keepdims=True)
    squares, colour = (np.square(x, dtype=np.float64).sum(axis=(1, 2, 3)) for x in (weight, weight - grey))
    shares = np.divide(colour, squares, out=np.zeros_like(colour), where=squares > 0)
    return [math.fsum(part) / len(part) for part in np.array_split(shares, towers)]


def plot_filters(folder: Path, weight: np.ndarray, towers: int, channel_order: str) -> Path:
    """Write conv1's filters as a PNG into `folder` and give its path; see `filter_grid`."""
    return write_png(folder / FILTERS_NAME, filter_grid(weight, towers, channel_order))


def write_png(path: Path, pixels: np.ndarray) -> Path:
    """Write grey or RGB pixels, uint8 [height, width] or [height, width, 3], and give the path."""
    from PIL import Image

    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, "PNG")
    return path
