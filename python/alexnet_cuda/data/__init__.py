"""Images for training: sources (folder, archive, digits), decoding, and batches in a repeatable order."""

from .base import ImageSource, align
from .digits import DigitsSource
from .holdout import split
from .image import IMAGE_SUFFIXES, MAX_PIXELS, DecodeError, ReadError, decode, read_square, square
from .loader import Batch, BrokenImages, Loader, TooManyBroken
from .sources import open_source
from .statistics import ColourStatistics, estimate_colour
from .store import StoreSource, verify
from .store_writer import prepare

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
    "StoreSource",
    "TooManyBroken",
    "align",
    "decode",
    "estimate_colour",
    "open_source",
    "prepare",
    "read_square",
    "split",
    "square",
    "verify",
]
