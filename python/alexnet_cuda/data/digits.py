"""scikit-learn's handwritten digits: 1,797 real images that come with the library, for demonstrations without data."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from .base import ImageSource
from .image import UInt8Array

if TYPE_CHECKING:
    from PIL import Image


class DigitsSource(ImageSource):
    """The digits as 8 x 8 grey images, their values 0..16 scaled to 0..255.

    Raises
    ------
    ImportError
        scikit-learn is missing.
    """

    def __init__(self) -> None:
        here = os.path.lexists("digits")
        name = "digits (scikit-learn's, not ./digits)" if here else "digits"
        try:
            from sklearn.datasets import load_digits
        except ImportError as error:
            raise ImportError(f"{name}: scikit-learn is missing, pip install 'alexnet-cuda[demo]'") from error
        digits = load_digits()
        labels = np.asarray(digits.target, dtype=np.int64)
        names = tuple(f"{label}/{i:04}" for i, label in enumerate(labels.tolist()))
        classes = [str(label) for label in digits.target_names]
        super().__init__(name, classes, labels, names, ["./digits"] if here else [])
        self._grey: UInt8Array = np.rint(np.asarray(digits.images) * (255.0 / 16.0)).astype(np.uint8)

    def load(self, index: int, at_least: int | None) -> Image.Image:
        """Image `index`, 8 x 8; `at_least` has no meaning here."""
        from PIL import Image

        return Image.fromarray(self._grey[index]).convert("RGB")

    def contents(self, index: int) -> bytes:
        """The pixels of image `index`."""
        return bytes(self._grey[index])
