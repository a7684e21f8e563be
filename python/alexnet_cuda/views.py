"""Which part of an image the network sees: random in training, fixed in tests; paper section 4.1."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .backends.cpu.augment import Views
from .config import Config
from .philox import Purpose, bits, normal

Shape = tuple[int, ...]


def random_views(shape: Shape, config: Config, step: int) -> Views:
    """A crop, mirroring and colour shift for each image of a batch [N, H, W, 3], keyed by seed, step and position.

    The colour shift is ``255 * eigenvectors @ (alpha * eigenvalues)`` with alpha normal of standard deviation
    ``config.colour_noise``: the paper's formula, on values scaled to 0..1.
    """
    n, height, width, _ = shape
    words = bits(config.seed, Purpose.CROP, step, 0, 4 * n).reshape(n, 4).astype(np.uint64)
    # Multiply and shift instead of a remainder: the same bits on every backend, and no bias to speak of.
    top = (words[:, 0] * np.uint64(height - config.image_size + 1)) >> np.uint64(32)
    left = (words[:, 1] * np.uint64(width - config.image_size + 1)) >> np.uint64(32)
    mirrored = (words[:, 2] >> np.uint64(31)).astype(np.bool_) & config.mirror
    shift = np.zeros((n, 3), np.float32)
    if config.colour_noise:
        alpha = normal(config.seed, Purpose.COLOUR, step, 0, 3 * n, config.colour_noise).reshape(n, 3)
        vectors = np.asarray(config.colour_eigenvectors)
        shift = (255.0 * (alpha * config.colour_eigenvalues) @ vectors.T).astype(np.float32)
    return Views(top.astype(np.int64), left.astype(np.int64), mirrored, shift)


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
    for place in ("centre", "top left", "top right", "bottom left", "bottom right"):
        for mirrored in (False, True)[: 1 + config.mirror]:
            yield fixed_views(shape, config, place, mirrored)
