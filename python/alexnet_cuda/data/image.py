"""One image file to one array: decoding with Pillow, and the square that crops are taken from."""

from __future__ import annotations

import contextlib
import io
import os
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image

UInt8Array = npt.NDArray[np.uint8]

#: File name endings (lower case) that make a file an image of a source.
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"}
)
#: Images of more pixels are refused by their header, before anything of their size is allocated (268 MB as RGB).
MAX_PIXELS = 89_478_485
#: Files of more bytes are refused.
MAX_FILE_BYTES = 1 << 28

# A closed list: Pillow's other readers are of no use for photographs, and some start other programs (EPS).
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
_EXIF_ORIENTATION = 0x0112
# Against transparency the page is white: drawings with transparent ground are dark on light.
_GROUND = (255, 255, 255)
# The JPEG decoder may leave an image this many times larger than needed; the resize that follows hides its filter.
_DRAFT_MARGIN = 2


class DecodeError(ValueError):
    """An image file that cannot be decoded.

    Attributes
    ----------
    name : str
        The file.
    reason : str
        Why, without the file's name.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} cannot be decoded: {reason}")
        self.name = name
        self.reason = reason


def decode(file: str | os.PathLike[str] | bytes, name: str | None = None, *, at_least: int | None = None) -> UInt8Array:
    """Decode one image file.

    Grey images get three equal channels; CMYK (Adobe's inverted CMYK too) and palettes become RGB; 16-bit grey is
    scaled to 8 bits; transparent pixels are laid on white; of an animation the first frame is taken; the EXIF
    orientation is applied.

    Parameters
    ----------
    file : path or bytes
        A JPEG, PNG, GIF, BMP, WebP, TIFF or PPM file, or its contents.
    name : str, optional
        What errors call it; the path if not given.
    at_least : int, optional
        The decoder may shrink a JPEG by 2, 4 or 8 while both sides stay at least twice this, which is faster.
        The result depends on the file and this number only. Without it the image has its full size.

    Returns
    -------
    ndarray of uint8, shape [H, W, 3]
        RGB.

    Raises
    ------
    DecodeError
        The contents are no image, are damaged, or have more than `MAX_PIXELS` pixels.
    OSError
        The path cannot be read.
    """
    return np.array(load_image(file, name, at_least), dtype=np.uint8)


def load_image(file: str | os.PathLike[str] | bytes, name: str | None, at_least: int | None) -> Image.Image:
    """`decode` without the step from Pillow's RGB image to an array."""
    if isinstance(file, bytes):
        data, name = file, name or "image data"
    else:
        name = name or os.fspath(file)
        with open(file, "rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    if not data:
        raise DecodeError(name, "the file is empty")
    if len(data) > MAX_FILE_BYTES:
        raise DecodeError(name, f"the file has more than {MAX_FILE_BYTES >> 20} MiB, the most that is accepted")
    try:
        return _decode(data, name, at_least)
    except (DecodeError, MemoryError):
        raise
    except Exception as error:  # Pillow raises nearly any type on damaged contents (struct.error, KeyError, ...).
        raise DecodeError(name, _reason(error)) from error


def _decode(data: bytes, name: str, at_least: int | None) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        raise DecodeError(name, "it is not an image of a known format (JPEG, PNG, GIF, BMP, WebP, TIFF, PPM)") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DecodeError(name, f"it has more than {MAX_PIXELS:,} pixels, the most that are accepted") from None
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise DecodeError(name, f"it has {width} x {height} pixels, more than the {MAX_PIXELS:,} that are accepted")
    if width < 1 or height < 1:
        raise DecodeError(name, f"it has {width} x {height} pixels")
    if at_least is not None and image.format in ("JPEG", "MPO"):
        side = _DRAFT_MARGIN * at_least
        image.draft(None, (side, side))
    image.load()
    return _upright(_rgb(image), image)


def _rgb(image: Image.Image) -> Image.Image:
    from PIL import Image

    if image.mode.startswith("I"):
        grey = np.asarray(image)
        if grey.min() < 0 or grey.max() > 65535:
            raise ValueError("its 32-bit grey values leave the range 0 to 65535")
        image = Image.fromarray(((grey.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("its pixels are floating point, whose white level is not known")
    elif image.has_transparency_data:
        coloured = image.convert("RGBA")
        ground = Image.new("RGBA", coloured.size, (*_GROUND, 255))
        image = Image.alpha_composite(ground, coloured)
    return image if image.mode == "RGB" else image.convert("RGB")


def _upright(rgb: Image.Image, loaded: Image.Image) -> Image.Image:
    """Turn `rgb` as the EXIF data of the file it came from says; damaged EXIF data says nothing."""
    from PIL.Image import Transpose

    if "exif" not in loaded.info:
        return rgb
    orientation = None
    with contextlib.suppress(Exception):
        orientation = loaded.getexif().get(_EXIF_ORIENTATION)
    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return rgb.transpose(turns[orientation]) if orientation in turns else rgb


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text or type(error).__name__


def square(image: UInt8Array, side: int) -> UInt8Array:
    """The central square of an image, its shorter side resized to `side` (paper, section 2).

    Resizing the shorter side to `side` and cropping the centre are one operation here, so the centre is exact also
    where the longer side is no whole number of pixels. The filter is Pillow's bilinear, which widens when it shrinks
    (antialiased); torchvision's transforms for its AlexNet weights use the same one.

    Parameters
    ----------
    image : ndarray of uint8, shape [H, W, 3]
    side : int
        In pixels, positive.

    Returns
    -------
    ndarray of uint8, shape [side, side, 3]

    Raises
    ------
    TypeError, ValueError
        The image is not uint8, or not of shape [H, W, 3], or `side` is not positive.
    """
    from PIL import Image

    if image.dtype != np.uint8:
        raise TypeError(f"image must be uint8, got {image.dtype}")
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"image must have shape [H, W, 3], got {list(image.shape)}")
    if side < 1:
        raise ValueError(f"side must be at least 1, got {side}")
    return square_of(Image.fromarray(image), side)


def square_of(image: Image.Image, side: int) -> UInt8Array:
    """`square` of Pillow's RGB image."""
    from PIL import Image

    width, height = image.size
    short = min(height, width)
    left, top = (width - short) / 2, (height - short) / 2
    box = (left, top, left + short, top + short)
    return np.array(image.resize((side, side), Image.Resampling.BILINEAR, box=box), dtype=np.uint8)


def read_square(file: str | os.PathLike[str] | bytes, side: int, name: str | None = None) -> UInt8Array:
    """`decode` and `square` in one: what training, evaluation and prediction all see of a file.

    Parameters
    ----------
    file : path or bytes
    side : int
        In pixels, positive.
    name : str, optional
        What errors call it; the path if not given.

    Returns
    -------
    ndarray of uint8, shape [side, side, 3]

    Raises
    ------
    DecodeError, OSError
        As `decode`.
    """
    if side < 1:
        raise ValueError(f"side must be at least 1, got {side}")
    return square_of(load_image(file, name, side), side)
