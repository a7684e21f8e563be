"""Which part of an image the network sees: random in training, fixed in tests; paper section 4.1."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from ..base.params import Views
from ..base.philox import Purpose, bits, normal
from ..config import Config

Shape = tuple[int, ...]

PLACES = ("centre", "top left", "top right", "bottom left", "bottom right")
# Steps whose views are drawn at once: most of the time of a draw is Python's, whatever its size.
_STEPS = 32


def random_views(shape: Shape, config: Config, step: int) -> Views:
    """A crop, mirroring and colour shift for each image of a batch [N, H, W, 3], keyed by seed, step and position.

    The colour shift is ``255 * eigenvectors @ (alpha * eigenvalues)`` with alpha normal of standard deviation
    ``config.colour_noise``: the paper's formula, on values scaled to 0..1.
    """
    divisor = 1.0 + config.colour_noise if config.colour_noise_scaled else 1.0
    drawn = _several(shape[:3], config, step // _STEPS * _STEPS)
    top, left, mirrored, shift = (part[step % _STEPS] for part in drawn)
    return Views(top, left, mirrored, shift, divisor)


@lru_cache(maxsize=4)
def _several(shape: Shape, config: Config, step: int) -> tuple[np.ndarray, ...]:
    """The fields of `Views`, each with an axis for the steps before its own."""
    n, height, width = shape
    words = bits(config.seed, Purpose.CROP, step, 0, 4 * n, _STEPS).reshape(_STEPS, n, 4).astype(np.uint64)
    # Multiply and shift instead of a remainder: the same bits on every backend, and no bias to speak of.
    top = (words[..., 0] * np.uint64(height - config.image_size + 1)) >> np.uint64(32)
    left = (words[..., 1] * np.uint64(width - config.image_size + 1)) >> np.uint64(32)
    mirrored = (words[..., 2] >> np.uint64(31)).astype(np.bool_) & config.mirror
    shift = np.zeros((_STEPS, n, 3), np.float32)
    if config.colour_noise:
        alpha = normal(config.seed, Purpose.COLOUR, step, 0, 3 * n, config.colour_noise, steps=_STEPS)
        vectors = np.asarray(config.colour_eigenvectors)
        scaled = alpha.reshape(-1, 3) * config.colour_eigenvalues
        shift = (255.0 * scaled @ vectors.T).astype(np.float32).reshape(_STEPS, n, 3)
    parts = top.astype(np.int64), left.astype(np.int64), mirrored, shift
    for part in parts:
        part.flags.writeable = False  # they are kept
    return parts


def fixed_views(shape: Shape, config: Config, place: str, mirrored: bool) -> Views:
    """The same view of every image: place "centre", "top left", "top right", "bottom left" or "bottom right"."""
    n, height, width, _ = shape
    rest = (height - config.image_size, width - config.image_size)
    places = {
        "centre": (rest[0] // 2, rest[1] // 2),
        "top left": (0, 0),
        "top right": (0, rest[1]),
        "bottom left": (rest[0], 0),
        "bottom right": rest,
    }
    top, left = (np.full(n, value, np.int64) for value in places[place])
    return Views(top, left, np.full(n, mirrored), np.zeros((n, 3), np.float32))


def ten_views(shape: Shape, config: Config) -> Iterator[Views]:
    """The four corners and the centre, each as it is and, if the network was trained on mirrors, mirrored."""
    for place in PLACES:
        for mirrored in (False, True)[: 1 + config.mirror]:
            yield fixed_views(shape, config, place, mirrored)
