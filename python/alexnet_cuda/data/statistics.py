"""Mean, standard deviation and principal components of the training images' colours."""

from __future__ import annotations

from contextlib import closing
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .base import ImageSource
from .loader import BrokenImages, Loader

Float64Array = npt.NDArray[np.float64]

_BATCH_PIXELS = 1 << 20
# In grey levels. Dividing by less would blow the noise of flat images up, and by zero is no network input.
_MIN_STD = 1.0


class ColourStatistics(NamedTuple):
    """Of RGB pixels over a sample of squares."""

    mean: Float64Array  # [3], 0..255
    std: Float64Array  # [3], 0..255, at least 1
    eigenvalues: Float64Array  # [3], of the covariance of values scaled to 0..1, falling, none negative
    eigenvectors: Float64Array  # [3, 3], column i belongs to eigenvalue i; its largest entry is positive


def estimate_colour(
    source: ImageSource,
    side: int,
    *,
    limit: int = 2048,
    seed: int = 0,
    workers: int = 2,
    max_broken: float | BrokenImages = 1.0,
    mode: str = "square",
) -> ColourStatistics:
    """Estimate what is subtracted from the images and what the PCA colour noise needs (paper, sections 2 and 4.1).

    The sample is the first `limit` images of epoch 0 of a shuffled `Loader` with this seed; undecodable files are
    passed over as there. The sums are whole numbers below 2**53, so they are exact in float64 and the result does not
    depend on the order of additions.

    Parameters
    ----------
    source : ImageSource
        The training images.
    side : int
        Of the squares, in pixels.
    limit : int
        Images looked at, at most.
    seed : int
        64-bit unsigned.
    workers : int
        Threads that decode.
    max_broken : float or BrokenImages
    mode : str
        As of `Loader`.

    Raises
    ------
    ValueError
        A number is out of range, the source is empty, or none of its images can be decoded.
    TooManyBroken, ReadError
        As of `Loader`.
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    batch_size = max(1, _BATCH_PIXELS // (side * side)) if side > 0 else 1
    how: dict[str, Any] = {"workers": workers, "cache_bytes": 0, "max_broken": max_broken, "mode": mode}
    loader = Loader(source, side, batch_size, seed, shuffle=True, **how)
    sample = min(limit, len(source))
    total, products, images = np.zeros(3), np.zeros((3, 3)), 0
    with closing(loader.epoch(0)) as batches:
        for batch in batches:
            pixels = batch.images[: sample - images].reshape(-1, 3).astype(np.float64)
            total += pixels.sum(axis=0)
            products += pixels.T @ pixels
            images = min(sample, images + len(batch.labels))
            if images == sample:
                break
    return _statistics(total, products, images * side * side)


def _statistics(total: Float64Array, products: Float64Array, count: int) -> ColourStatistics:
    mean = total / count
    covariance = products / count - np.outer(mean, mean)
    std = np.maximum(np.sqrt(np.maximum(np.diag(covariance), 0.0)), _MIN_STD)
    values, vectors = np.linalg.eigh(covariance / 255.0**2)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    # An eigenvector's sign is free and differs between LAPACKs; the noise along it must not.
    largest = np.abs(vectors).argmax(axis=0)
    return ColourStatistics(mean, std, values, vectors * np.sign(vectors[largest, np.arange(3)]))
