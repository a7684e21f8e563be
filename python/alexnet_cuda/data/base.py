"""What every source of labelled images offers, and views of part of one."""

from __future__ import annotations

import abc
import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .image import UInt8Array, draft_side, square_of

if TYPE_CHECKING:
    from PIL import Image

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]


class ImageSource(abc.ABC):
    """Labelled images, read one at a time; reading is safe from several threads.

    Attributes
    ----------
    name : str
        What was given to `open_source`.
    classes : tuple of str
        Class names; a label is an index into it.
    labels : ndarray of int64, shape [N]
        Read-only.
    names : sequence of str, length N
        The file of each image, relative to the source.
    ignored : tuple of str
        What lies in the source and is no image of it, one reason each with examples.
    side : int, optional
        Of the squares that the source holds; None where it holds files to decode.
    mode : str
        Of these squares; see `Config.resize_mode`.
    checksum : str, optional
        What the source itself says of all its bytes, None where it says nothing.
    colour : pair of arrays, optional
        Mean, float64 [3], and covariance, float64 [3, 3], of the RGB values (0..255) of all its images; None where
        they are not known.
    """

    side: int | None = None
    mode: str = "square"
    checksum: str | None = None
    colour: tuple[Float64Array, Float64Array] | None = None

    def __init__(
        self,
        name: str,
        classes: Sequence[str],
        labels: npt.ArrayLike,
        names: Sequence[str],
        ignored: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.classes = tuple(classes)
        self.labels: Int64Array = np.array(labels, dtype=np.int64)
        self.labels.setflags(write=False)
        self.names = names
        self.ignored = tuple(ignored)

    def __len__(self) -> int:
        return len(self.labels)

    @abc.abstractmethod
    def load(self, index: int, at_least: int | None) -> Image.Image:
        """Image `index` as Pillow's RGB image; `at_least` as in `decode`.

        Raises
        ------
        DecodeError
            The file is broken.
        OSError
            The file cannot be read, so that nobody knows.
        """

    def contents(self, index: int) -> bytes:
        """The bytes of image `index`'s file, where there is none its pixels; raises OSError."""
        return self.read(index).tobytes()

    def size(self, index: int) -> int:
        """How many bytes `contents` of image `index` are."""
        return len(self.contents(index))

    def read(self, index: int) -> UInt8Array:
        """Image `index` as uint8 RGB [H, W, 3]; raises as `load`."""
        return np.array(self.load(index, None), dtype=np.uint8)

    def read_square(self, index: int, side: int, mode: str = "square") -> UInt8Array:
        """Image `index` as uint8 RGB [side, side, 3]; `mode` as of `data.read_square`; raises as `load`."""
        return square_of(self.load(index, draft_side(side, mode)), side, mode)

    def read_into(self, index: int, out: UInt8Array, mode: str = "square") -> None:
        """Write `read_square` of image `index` into `out`, uint8 [side, side, 3], C-contiguous; raises as `load`."""
        out[...] = self.read_square(index, len(out), mode)

    def holds(self, side: int, mode: str) -> bool:
        """Whether squares of this `side` and `mode` are there without decoding or resizing."""
        return (self.side, self.mode) == (side, mode)

    def subset(self, indices: npt.ArrayLike) -> ImageSource:
        """The images of these indices, in this order.

        Raises
        ------
        ValueError, IndexError
            The indices are not one-dimensional integers, or one lies outside ``range(len(self))``.
        """
        chosen = np.asarray(indices)
        if chosen.ndim != 1 or (chosen.size and not np.issubdtype(chosen.dtype, np.integer)):
            raise ValueError(f"indices must be integers of shape [n], got {chosen.dtype} of shape {list(chosen.shape)}")
        if chosen.size and not (chosen.min() >= 0 and chosen.max() < len(self)):
            raise IndexError(f"indices must lie in 0..{len(self) - 1}, got {chosen.min()}..{chosen.max()}")
        chosen = chosen.astype(np.int64)
        return _View(self, chosen, self.classes, self.labels[chosen])


class _View(ImageSource):
    """Part of another source, perhaps under other labels."""

    def __init__(self, base: ImageSource, indices: Int64Array, classes: Sequence[str], labels: Int64Array) -> None:
        super().__init__(base.name, classes, labels, tuple(base.names[i] for i in indices), base.ignored)
        self.side, self.mode, self.checksum = base.side, base.mode, base.checksum
        self._base = base
        self._indices = indices

    def load(self, index: int, at_least: int | None) -> Image.Image:
        return self._base.load(int(self._indices[index]), at_least)

    def contents(self, index: int) -> bytes:
        return self._base.contents(int(self._indices[index]))

    def size(self, index: int) -> int:
        return self._base.size(int(self._indices[index]))

    def read_into(self, index: int, out: UInt8Array, mode: str = "square") -> None:
        self._base.read_into(int(self._indices[index]), out, mode)


def align(source: ImageSource, classes: Sequence[str]) -> ImageSource:
    """The same images labelled by the class list of another source or of a checkpoint.

    Parameters
    ----------
    source : ImageSource
        It may lack some of the classes.
    classes : sequence of str
        The class names that labels shall index. A name in composed and one in decomposed Unicode letters (NFC and
        NFD, as Linux and macOS write them) are the same.

    Raises
    ------
    ValueError
        `source` has a class that `classes` lacks, or has twice: nobody knows which is meant.
    """
    if source.classes == tuple(classes):
        return source
    names = [composed(name) for name in classes]
    position, times = {name: label for label, name in enumerate(names)}, Counter(names)
    unknown = [name for name in source.classes if composed(name) not in position]
    if unknown:
        raise ValueError(
            f"{source.name} has {len(unknown)} of its {len(source.classes)} classes outside the {len(position)} known"
            f" ones, the first is {unknown[0]!r}"
        )
    if twice := [name for name in source.classes if times[composed(name)] > 1]:
        raise ValueError(f"{source.name} has the class {twice[0]!r}, and several of the known ones have that name")
    table = np.array([position[composed(name)] for name in source.classes], dtype=np.int64)
    return _View(source, np.arange(len(source)), classes, table[source.labels])


def composed(name: str) -> str:
    """A name in Unicode's composed form: macOS may hand the same letters over decomposed."""
    return unicodedata.normalize("NFC", name)


def printable(name: str) -> str:
    """A file name as text that can be printed and stored, whatever its bytes."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return os.fsencode(name).decode("utf-8", "backslashreplace")
    return name
