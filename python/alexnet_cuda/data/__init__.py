"""Images for training: sources (folder, archive, digits), decoding, and batches in a repeatable order."""

from .base import ImageSource, align
from .digits import DigitsSource
from .holdout import split
from .image import IMAGE_SUFFIXES, MAX_PIXELS, DecodeError, ReadError, decode, read_square, square
from .loader import Batch, BrokenImages, Loader, TooManyBroken
from .sources import open_source
from .statistics import ColourStatistics, estimate_colour

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "Batch",
    "BrokenImages",
    "ColourStatistics",
    "DecodeError",
    "DigitsSource",
    "ImageSource",
    "Loader",
    "ReadError",
    "TooManyBroken",
    "align",
    "decode",
    "estimate_colour",
    "open_source",
    "read_square",
    "split",
    "square",
]
