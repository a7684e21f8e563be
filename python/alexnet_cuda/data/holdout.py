"""Holding images out of training for validation."""

from __future__ import annotations

import numpy as np

from ..base.philox import Purpose, permutation
from .base import ImageSource, Int64Array


def split(source: ImageSource, fraction: float, seed: int) -> tuple[ImageSource, ImageSource]:
    """Hold out part of the images for validation, the same part of every class as nearly as whole numbers allow.

    The number held out is `fraction` of all images, rounded, at least one; every class keeps at least one image for
    training. Which images is drawn by Philox keyed by (`seed`, `Purpose.SPLIT`), so it does not depend on the machine.

    Parameters
    ----------
    source : ImageSource
    fraction : float
        Between 0 and 1, exclusive.
    seed : int
        64-bit unsigned.

    Returns
    -------
    (training, validation) : ImageSource, ImageSource
        Both in the order of `source` and with all its classes.

    Raises
    ------
    ValueError
        `fraction` is out of range, or no class has a second image.
    """
    if not 0.0 < fraction < 1.0:
        raise ValueError(f"the validation fraction must lie between 0 and 1, got {fraction}")
    counts = np.bincount(source.labels, minlength=len(source.classes))
    if counts.max(initial=0) < 2:
        raise ValueError(
            f"no class of {source.name} has more than one image, so none can be held out: give --validation SOURCE,"
            " or --validation-split 0 to train without validation"
        )
    held = _shares(counts, fraction, permutation(seed, Purpose.SPLIT, 1, len(counts)))
    order = permutation(seed, Purpose.SPLIT, 0, len(source))
    by_class = order[np.argsort(source.labels[order], kind="stable")]
    starts = np.cumsum(counts) - counts
    place = np.arange(len(source)) - np.repeat(starts, counts)
    out = place < np.repeat(held, counts)
    return source.subset(np.sort(by_class[~out])), source.subset(np.sort(by_class[out]))


def _shares(counts: Int64Array, fraction: float, tie_break: Int64Array) -> Int64Array:
    """How many of each class to hold out: the largest-remainder method, capped at all but one of a class."""
    room = np.maximum(counts - 1, 0)
    total = min(max(1, round(fraction * int(counts.sum()))), int(room.sum()))
    exact = counts * fraction
    held: Int64Array = np.floor(exact).astype(np.int64)  # below counts, since the fraction is below 1
    by_remainder = tie_break[np.argsort(-(exact - np.floor(exact))[tie_break], kind="stable")]
    while held.sum() < total:
        open_classes = by_remainder[held[by_remainder] < room[by_remainder]]
        held[open_classes[: total - int(held.sum())]] += 1
    return held
