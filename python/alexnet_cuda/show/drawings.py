"""The pictures with axes: five bars below each image, the confusion matrix, updates by epoch."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..pages.page import one_line
from ..pages.pictures import figure, save
from .look import Seen

_COLUMNS, _LONGEST = 4, 26
#: So many images are in the picture of predictions, which a page can show and matplotlib can draw.
PICTURED = 40
_RIGHT, _OTHER = "#f2a39b", "#a9c8ee"  # light enough for the dark names on them
_NAMED, _COUNTED = 40, 15


@contextlib.contextmanager
def _any_letters() -> Iterator[None]:
    """Letters that the font of the pictures lacks are boxes there; the page has them as text."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        yield


def _short(text: str) -> str:
    name = one_line(text)
    return name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"


def predictions(
    path: Path, images: Sequence[Seen], names: Sequence[str], classes: np.ndarray, probabilities: np.ndarray
) -> str:
    """The left of the paper's figure 4: each image, its class below, and a bar for each of the most probable classes.

    `classes` and `probabilities` are of `Model.predict`, [N, 5] or fewer; of the images the first `PICTURED` are drawn.
    """
    images = images[:PICTURED]
    columns = min(_COLUMNS, len(images))
    rows = -(-len(images) // columns)
    drawn, axes = figure(2 * rows, columns, 2.4 * columns, 3.7 * rows)
    for ax in axes.flat:
        ax.axis("off")
    for i, image in enumerate(images):
        shown, bars = axes[2 * (i // columns), i % columns], axes[2 * (i // columns) + 1, i % columns]
        shown.imshow(image.square)
        title = Path(image.name).name if image.label is None else names[image.label]
        shown.set_title(_short(title), fontsize=10, parse_math=False)
        colours = [_RIGHT if label == image.label else _OTHER for label in classes[i]]
        bars.barh(range(len(colours)), probabilities[i], color=colours)
        for y, label in enumerate(classes[i]):
            bars.text(0.02, y, _short(names[label]), va="center", fontsize=8.5, color="#1f2328", parse_math=False)
        bars.set(xlim=(0, 1), ylim=(max(4, len(colours) - 1) + 0.6, -0.6))
    with _any_letters():
        return save(drawn, path)


def confusion_matrix(path: Path, counts: np.ndarray, names: Sequence[str]) -> str:
    """Of each class, a row, the part predicted as each class, a column."""
    drawn, ((ax,),) = figure(1, 1, 8.5, 7.5)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    drawn.colorbar(ax.imshow(shares, cmap="Blues", vmin=0, vmax=1), ax=ax, label="part of the class", shrink=0.8)
    ax.set(xlabel="predicted class", ylabel="true class")
    if len(names) <= _NAMED:
        short = [_short(name) for name in names]
        ax.set_xticks(range(len(names)), short, rotation=90, parse_math=False)
        ax.set_yticks(range(len(names)), short, parse_math=False)
    if len(names) <= _COUNTED:
        for (y, x), count in np.ndenumerate(counts):
            colour = "white" if shares[y, x] > 0.5 else "#1f2328"
            ax.text(x, y, str(count), ha="center", va="center", fontsize=8, color=colour)
    with _any_letters():
        return save(drawn, path)


def updates(path: Path, epochs: Sequence[int], ratios: Mapping[str, Sequence[float]]) -> str:
    """A line for each layer: the norm of its last update over that of its weights, after each epoch."""
    drawn, ((ax,),) = figure(1, 1, 9, 4)
    for name, values in ratios.items():
        ax.plot(epochs, values, marker=".", label=name)
    ax.set(xlabel="epoch", ylabel="update / weights", yscale="log")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.grid(alpha=0.3)
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return save(drawn, path)
