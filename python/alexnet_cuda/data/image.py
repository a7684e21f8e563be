"""One image file to one array: decoding with Pillow, and the square that crops are taken from."""

from __future__ import annotations

import contextlib
import io
import os
import re
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..base.notices import say_once
from ..config import RESIZE_MODES
from .png import is_png, significant_bits, without_side_data

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
# Against transparency the page is white: drawings with transparent ground are dark on light.
_GROUND = (255, 255, 255)
# The JPEG decoder may leave an image this many times larger than needed; the resize that follows hides its filter.
_DRAFT_MARGIN = 2
_WHITE = 65535
# Samples of 16 bits that all stay below this are more likely narrower data than a very dark picture.
_DARK = 1 << 14
_BITS_PER_SAMPLE = 258  # TIFF tag
_PILLOW = re.compile(r"PIL\.")


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


class ReadError(OSError):
    """An image file that the system cannot read: what it holds is not known, so it is not called broken."""


def decode(file: str | os.PathLike[str] | bytes, name: str | None = None, *, at_least: int | None = None) -> UInt8Array:
    """Decode one image file.

    Grey images get three equal channels; CMYK (Adobe's inverted CMYK too) and palettes become RGB; 16-bit grey is
    scaled to 8 bits, by the bits that a PNG calls significant; transparent pixels are laid on white; of an animation
    the first frame is taken; the picture is turned as `PIL.ImageOps.exif_transpose` does. Side data (profiles, texts,
    EXIF) that are damaged or large say nothing, and nothing is warned of them.

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
    data, name = (file, name or "image data") if isinstance(file, bytes) else (_read(file), name or os.fspath(file))
    if not data:
        raise DecodeError(name, "the file is empty")
    if len(data) > MAX_FILE_BYTES:
        raise DecodeError(name, f"the file has more than {MAX_FILE_BYTES >> 20} MiB, the most that is accepted")
    try:
        with _without_warnings():
            return _decode(data, name, at_least)
    except (DecodeError, MemoryError, ImportError):
        raise
    except Exception as error:  # Pillow raises nearly any type on damaged contents (struct.error, KeyError, ...).
        if isinstance(error, OSError) and error.errno is not None:  # the system's: Pillow's own has no number
            raise
        raise DecodeError(name, _reason(error)) from error


def _read(path: str | os.PathLike[str]) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        error.filename = error.filename or os.fspath(path)  # which only opening gives
        raise


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Ignore Pillow's warnings of side data: they name no file, and ``python -W error`` would make them errors.

    The filters are the process's, so each decoding puts its own entry in front and takes one like it away: together
    they count the threads that decode. `warnings.catch_warnings` would take away what other threads have set.
    """
    filters: list[Any] = warnings.filters  # type: ignore[assignment]
    entry = ("ignore", None, Warning, _PILLOW, 0)
    filters.insert(0, entry)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # gone with the filters of a catch_warnings that has ended
            filters.remove(entry)


def _decode(data: bytes, name: str, at_least: int | None) -> Image.Image:
    if not is_png(data):
        return _decode_as_is(data, name, at_least)
    try:
        return _decode_as_is(without_side_data(data, orientation=True), name, at_least, significant_bits(data))
    except (MemoryError, ImportError):
        raise
    except Exception:  # the fault may lie in the side data that are left
        return _decode_as_is(without_side_data(data, orientation=False), name, at_least, significant_bits(data))


def _decode_as_is(data: bytes, name: str, at_least: int | None, bits: int | None = None) -> Image.Image:
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
    _turn(image)
    rgb = _rgb(image, name, bits)
    if image.mode.startswith("RGB") and _has_sixteen_bits(image, data):
        # Pillow keeps the upper bytes only, so narrower data are lost here.
        _say_if_dark(name, max(high for _, high in rgb.getextrema()) << 8)  # type: ignore[misc]
    return rgb


def _turn(image: Image.Image) -> None:
    """Turn the picture as its EXIF or XMP data say; damaged ones say nothing."""
    from PIL import ImageOps

    try:
        ImageOps.exif_transpose(image, in_place=True)
    except MemoryError:
        raise
    except Exception:
        return


def _rgb(image: Image.Image, name: str, bits: int | None) -> Image.Image:
    from PIL import Image

    if image.mode.startswith("I"):
        image = Image.fromarray(_eight_bits(np.asarray(image), name, bits))
    elif image.mode == "F":
        raise ValueError("its pixels are floating point, whose white level is not known")
    elif image.has_transparency_data:
        coloured = image.convert("RGBA")
        ground = Image.new("RGBA", coloured.size, (*_GROUND, 255))
        image = Image.alpha_composite(ground, coloured)
    return image if image.mode == "RGB" else image.convert("RGB")


def _eight_bits(grey: npt.NDArray[np.integer], name: str, bits: int | None) -> UInt8Array:
    """Scale 16-bit values to 8 bits; `bits` of them hold data, as a PNG may say."""
    top, white = int(grey.max()), _WHITE
    if grey.min() < 0 or top > _WHITE:
        raise ValueError("its 32-bit grey values leave the range 0 to 65535")
    if bits is None or not 0 < bits < 16:
        _say_if_dark(name, top)
    elif top < 1 << bits and (grey & ((1 << (16 - bits)) - 1)).any():
        # The PNG specification wants narrower data scaled to 16 bits, whose low bits are then zero in a picture as
        # dark as this; low bits that are not show data that were stored as they were measured.
        white = (1 << bits) - 1
    return ((grey.astype(np.uint32) * 255 + white // 2) // white).astype(np.uint8)


def _has_sixteen_bits(image: Image.Image, data: bytes) -> bool:
    if image.format == "PNG":
        return data[24] == 16  # bit depth, in the header
    return image.format == "TIFF" and 16 in image.tag_v2.get(_BITS_PER_SAMPLE, ())  # type: ignore[attr-defined]


def _say_if_dark(name: str, top: int) -> None:
    if 0 < top < _DARK:
        say_once(
            "dark",
            f"{name} comes out nearly black: its 16-bit values reach only {top} of {_WHITE}. If they are data of fewer "
            "bits, scale them to 16, or let a grey PNG say how many bits count (sBIT). Others like it are not named.",
        )


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


def draft_side(side: int, mode: str) -> int | None:
    """What `decode` may shrink to before `square_of`; other packages' ways of resizing begin at the full size."""
    return side if mode == "square" else None


def square_of(image: Image.Image, side: int, mode: str = "square") -> UInt8Array:
    """`square` of Pillow's RGB image, or what `Config.resize_mode` says in its place."""
    from PIL import Image

    width, height = image.size
    short = min(height, width)
    if mode == "stretch":
        return np.array(image.resize((side, side), Image.Resampling.BILINEAR), dtype=np.uint8)
    if mode == "shorter":  # rounded as torchvision does, down and then to even
        width, height = (side * extent // short for extent in (width, height))
        left, top = round((width - side) / 2), round((height - side) / 2)
        whole = image.resize((width, height), Image.Resampling.BILINEAR)
        return np.array(whole.crop((left, top, left + side, top + side)), dtype=np.uint8)
    box = ((width - short) / 2, (height - short) / 2, (width + short) / 2, (height + short) / 2)
    return np.array(image.resize((side, side), Image.Resampling.BILINEAR, box=box), dtype=np.uint8)


def read_square(
    file: str | os.PathLike[str] | bytes, side: int, name: str | None = None, mode: str = "square"
) -> UInt8Array:
    """`decode` and `square` in one: what training, evaluation and prediction all see of a file.

    Parameters
    ----------
    file : path or bytes
    side : int
        In pixels, positive.
    name : str, optional
        What errors call it; the path if not given.
    mode : str
        Of `alexnet_cuda.config.RESIZE_MODES`; see `Config.resize_mode`.

    Returns
    -------
    ndarray of uint8, shape [side, side, 3]

    Raises
    ------
    ValueError
        No such mode, or a side less than 1.
    DecodeError, OSError
        As `decode`.
    """
    if side < 1:
        raise ValueError(f"side must be at least 1, got {side}")
    if mode not in RESIZE_MODES:
        raise ValueError(f"mode must be one of {', '.join(RESIZE_MODES)}, got {mode!r}")
    return square_of(load_image(file, name, draft_side(side, mode)), side, mode)
