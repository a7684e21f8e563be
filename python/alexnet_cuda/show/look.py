"""What a network makes of an image, step by step and view by view: arrays and sentences, nothing drawn."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from ..data.base import composed
from ..model import Model
from ..network.views import PLACES, ten_views
from ..train.plots import tiles

# About what a page is wide, in pixels, and the least side of a map that is recognised.
_WIDTH, _SIDE = 960, 26
_UNITS, _GAP = 64, 4
_WHITE = 99.5  # a map's percentile that is drawn white: a few positions often exceed all others by far


class Seen(NamedTuple):
    """An image: what it is called, its class where that is known, and its square uint8 [side, side, 3]."""

    name: str
    label: int | None
    square: np.ndarray


class Maps(NamedTuple):
    """The output of a step of the plan: its name, grey tiles uint8 [height, width], and what to say of them."""

    step: str
    pixels: np.ndarray
    caption: str


def class_names(model: Model) -> tuple[str, ...]:
    """Names of the classes, their numbers where the checkpoint has none."""
    return model.class_names or tuple(map(str, range(model.config.num_classes)))


def class_of(path: str, model: Model) -> int | None:
    """The class that the folder of an image file names, None if it names none, or several."""
    folder = composed(os.path.basename(os.path.dirname(os.path.abspath(path))))
    names = [composed(name) for name in model.class_names or ()]
    return names.index(folder) if names.count(folder) == 1 else None


def crops(model: Model, square: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The views that the mean over ten is taken of: their names, and uint8 [views, size, size, 3]."""
    size = model.config.image_size
    chosen = list(ten_views((1, *square.shape), model.config))
    cut = []
    for view in chosen:
        (top,), (left,) = view.top, view.left
        part = square[top : top + size, left : left + size]
        cut.append(part[:, ::-1] if view.mirrored[0] else part)
    names = [f"{place}{', mirrored' * mirrored}" for place in PLACES for mirrored in range(len(chosen) // len(PLACES))]
    return names, np.stack(cut)


def way(model: Model, square: np.ndarray) -> list[Maps]:
    """The output of every step for the centre of an image; but of dropout, which drops nothing here, and the logits."""
    steps = [step for step in model.plan.steps if step.op != "dropout" and not step.makes_logits]
    found = model.features(square[None], [step.name for step in steps])
    return [_maps(step.name, found[step.name][0], model.config.groups) for step in steps]


def _maps(name: str, values: np.ndarray, towers: int) -> Maps:
    """A step's output [height, width, channels] or [features] as tiles, all of one scale of grey."""
    whole = values.ndim == 3
    maps = np.moveaxis(values, -1, 0) if whole else values[:, None, None]
    side = maps.shape[1]
    columns, scale = _columns(len(maps) // towers, side) if whole else (_UNITS, 10)
    least, most = min(0.0, float(maps.min())), float(maps.max())
    white = float(np.percentile(maps[maps > 0], _WHITE)) if whole and most > 0 else most
    grey = np.clip((maps - least) / ((white - least) or 1), 0, 1)
    kind = f"{len(maps)} maps of {side}x{maps.shape[2]}" if whole else f"{len(maps)} units"
    zero = [f"{np.mean(part == 0):.0%}" for part in np.array_split(maps, towers)]
    shares = f"{zero[0]} zero" if towers == 1 else f"{zero[0]} zero in the first tower, {zero[1]} in the second"
    pixels = tiles(np.rint(255 * grey).astype(np.uint8), towers, columns, scale)
    return Maps(name, pixels, f"{kind}, {least:.3g} (black) to {most:.3g}; {shares}")


def _columns(images: int, side: int) -> tuple[int, int]:
    """How many images stand in a row, and how many times as large.

    Of the multiples of eight that fit it is the most that leaves no image over, if one does.
    """
    least = max(1, round(_SIDE / side))
    fit = list(range(max(8, _WIDTH // (least * side + _GAP) // 8 * 8), 0, -8))
    columns = next((columns for columns in fit if images % columns == 0), fit[0])
    return columns, max(least, (_WIDTH // columns - _GAP) // side)
