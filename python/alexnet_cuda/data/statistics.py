"""Mean, standard deviation and principal components of the training images' colours."""

from __future__ import annotations

from contextlib import closing
from typing import NamedTuple

import numpy as np

from .base import Float64Array, ImageSource, Int64Array
from .image import UInt8Array
from .loader import BrokenImages, Loader

_BATCH_PIXELS = 1 << 20
# In grey levels. Dividing by less would blow the noise of flat images up, and by zero is no network input.
_MIN_STD = 1.0
# Values whose products sum to whole numbers that float32 holds exactly: 256 * 255**2 < 2**24.
_EXACT = 256


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
    passed over as there. The sums are whole numbers and exact, so the result does not depend on the order of additions.
    A source that knows mean and covariance of these squares is not looked at: they are of all its images.

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
        As of `Loader`.
    mode : str
        Which squares: see `Config.resize_mode`.

    Returns
    -------
    ColourStatistics

    Raises
    ------
    ValueError
        A number is out of range, the source is empty, or none of its images can be decoded.
    TooManyBroken, ReadError
        As of `Loader`.
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    if source.colour is not None and source.holds(side, mode):
        return _statistics(*source.colour)
    batch_size = max(1, _BATCH_PIXELS // (side * side)) if side > 0 else 1
    loader = Loader(
        source, side, batch_size, seed, shuffle=True, workers=workers, cache_bytes=0, max_broken=max_broken, mode=mode
    )
    sample = min(limit, len(source))
    total, products, images = np.zeros(3, np.int64), np.zeros((3, 3), np.int64), 0
    with closing(loader.epoch(0)) as batches:
        for batch in batches:
            for sums, more in zip((total, products), colour_sums(batch.images[: sample - images]), strict=True):
                sums += more
            images = min(sample, images + len(batch.labels))
            if images == sample:
                break
    return _statistics(*moments(total, products, images * side * side))


def colour_sums(images: UInt8Array) -> tuple[Int64Array, Int64Array]:
    """The sums of the RGB values of images [..., 3], [3], and of their products by twos, [3, 3]: exact.

    In float32, by blocks that it holds exactly: a tenth of the time of a product of float64 matrices this narrow.
    """
    pixels = images.reshape(-1, 3)
    blocks = np.zeros((3, -(-len(pixels) // _EXACT), _EXACT), np.float32)
    blocks.reshape(3, -1)[:, : len(pixels)] = pixels.T
    products = np.empty((3, 3), np.int64)
    for i in range(3):
        for j in range(i + 1):
            products[i, j] = products[j, i] = np.einsum("bp,bp->b", blocks[i], blocks[j]).sum(dtype=np.float64)
    return blocks.sum(axis=2).sum(axis=1, dtype=np.float64).astype(np.int64), products


def moments(total: Int64Array, products: Int64Array, pixels: int) -> tuple[Float64Array, Float64Array]:
    """Mean [3] and covariance [3, 3] from `colour_sums` over so many pixels."""
    mean = total / pixels
    return mean, products / pixels - np.outer(mean, mean)


def _statistics(mean: Float64Array, covariance: Float64Array) -> ColourStatistics:
    std = np.maximum(np.sqrt(np.maximum(np.diag(covariance), 0.0)), _MIN_STD)
    values, vectors = np.linalg.eigh(covariance / 255.0**2)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    # An eigenvector's sign is free and differs between LAPACKs; the noise along it must not.
    largest = np.abs(vectors).argmax(axis=0)
    return ColourStatistics(mean, std, values, vectors * np.sign(vectors[largest, np.arange(3)]))
