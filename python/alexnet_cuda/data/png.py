"""The chunks of a PNG file: which of them decide what is seen, and how many bits of its samples count."""

from __future__ import annotations

from collections.abc import Iterator

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Where an orientation may stand: EXIF data, and Pillow's two kinds of text that hold EXIF or XMP data.
_ORIENTATION_KEYS = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")


def is_png(data: bytes) -> bool:
    """Whether the contents begin as a PNG file does."""
    return data.startswith(_SIGNATURE)


def without_side_data(data: bytes, *, orientation: bool) -> bytes:
    """The file without profiles, texts and times, for which Pillow refuses some files whose pixels are whole.

    Parameters
    ----------
    data : bytes
        Of a PNG file, perhaps damaged: from where its chunks are not whole it is left as it is.
    orientation : bool
        Keep what may say how the picture is to be turned.
    """
    parts, last = [data[: len(_SIGNATURE)]], len(_SIGNATURE)
    for kind, start, end in _chunks(data):
        critical = not kind[0] & 0x20
        turns = kind == b"eXIf" or (kind in _TEXTS and data.startswith(_ORIENTATION_KEYS, start + 8))
        if critical or kind == b"tRNS" or (orientation and turns):
            parts.append(data[start:end])
        last = end
    return b"".join((*parts, data[last:]))


def significant_bits(data: bytes) -> int | None:
    """How many bits of each sample hold data, of a grey PNG that says so (chunk sBIT), else None."""
    for kind, start, end in _chunks(data):
        if kind == b"sBIT" and end - start == 12 + 1:
            return data[start + 8]
    return None


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of each whole chunk; a chunk is its length (4 bytes), kind (4), data, and checksum (4)."""
    start = len(_SIGNATURE)
    while (end := start + 12 + int.from_bytes(data[start : start + 4], "big")) <= len(data):
        yield data[start + 4 : start + 8], start, end
        start = end
