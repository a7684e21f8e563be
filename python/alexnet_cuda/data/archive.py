"""A tar archive of class folders as a source, read in place."""

from __future__ import annotations

import os
import tarfile
import weakref
from typing import IO, TYPE_CHECKING

import numpy as np

from ..files import naming
from .base import ImageSource, printable
from .decompress import decompress
from .image import MAX_FILE_BYTES, DecodeError, load_image
from .layout import arrange, is_image

if TYPE_CHECKING:
    from PIL import Image

_Path = tuple[str, ...]


class ArchiveSource(ImageSource):
    """Images as ``class/file`` in a tar archive, or as ``common/class/file``.

    The archive is scanned once for the places of its members, and an image is then read from its place, so nothing is
    extracted under the names that the archive gives. A compressed archive (gzip, bzip2, xz) is first decompressed into
    a nameless temporary file, which goes when the source goes.

    Parameters
    ----------
    path : path
        The archive. Its contents, not its name, say whether and how it is compressed.
    minimum_classes : int
        Fewer are an error.

    Raises
    ------
    ValueError
        It is no tar archive, is damaged or cut short, decompresses to far more than images could, has a member with an
        absolute or parent path, a link, a device, or is not laid out as class folders.
    OSError
        It cannot be read, or there is no room for the decompressed copy.
    """

    def __init__(self, path: str | os.PathLike[str], minimum_classes: int = 2) -> None:
        self._file: int = decompress(path)
        weakref.finalize(self, os.close, self._file)
        name = printable(os.fspath(path))
        places = _scan(self._file, name)
        layout = arrange(name, (path for path in places if is_image(path)), minimum_classes)
        self._offsets = np.array([places[path][0] for path in layout.paths], dtype=np.int64)
        self._sizes = np.array([places[path][1] for path in layout.paths], dtype=np.int64)
        super().__init__(name, layout.classes, layout.labels, [printable("/".join(path)) for path in layout.paths])

    def load(self, index: int, at_least: int | None) -> Image.Image:
        """Image `index`; a file that cannot be read is a `DecodeError` too."""
        size = int(self._sizes[index])
        if size > MAX_FILE_BYTES:
            raise DecodeError(self.names[index], f"the file has more than {MAX_FILE_BYTES >> 20} MiB")
        try:
            data = os.pread(self._file, size, int(self._offsets[index]))
        except OSError as error:
            raise DecodeError(self.names[index], error.strerror or str(error)) from error
        if len(data) != size:
            raise DecodeError(self.names[index], f"only {len(data)} of its {size} bytes could be read from the archive")
        return load_image(data, self.names[index], at_least)

    def contents(self, index: int) -> bytes:
        """The bytes of image `index`'s file; fewer where the archive is cut short."""
        with naming(self.name):
            return os.pread(self._file, min(self.size(index), MAX_FILE_BYTES), int(self._offsets[index]))

    def size(self, index: int) -> int:
        """How many they are, by the archive."""
        return int(self._sizes[index])


def _scan(file: int, name: str) -> dict[_Path, tuple[int, int]]:
    """The place (offset, bytes) of each regular file; of two with one name the later counts, as in extraction."""
    places: dict[_Path, tuple[int, int]] = {}
    with os.fdopen(os.dup(file), "rb") as stream:
        stream.seek(0)
        archive = _open(stream, name)
        while (member := _next(archive, name)) is not None:
            path = _checked_path(member, name)
            if member.size < 0:  # would send tarfile back over the same members for ever
                raise ValueError(f"{name} is damaged: member {printable(member.name)} has a negative size")
            if member.isreg():
                places[path] = (member.offset_data, member.size)
            # tarfile keeps every member for lookup by name, a gigabyte for a million files; nothing here looks back.
            archive.members.clear()  # type: ignore[attr-defined]
        stream.seek(archive.offset)
        if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise ValueError(f"{name} is cut short or damaged: its end-of-archive mark is missing")
    return places


def _open(stream: IO[bytes], name: str) -> tarfile.TarFile:
    try:
        return tarfile.TarFile(fileobj=stream, mode="r")
    except Exception as error:  # tarfile raises several types on contents that are no archive.
        raise ValueError(f"{name} is neither a folder of class folders nor a tar archive of one ({error})") from error


def _next(archive: tarfile.TarFile, name: str) -> tarfile.TarInfo | None:
    try:
        return archive.next()
    except Exception as error:  # tarfile raises several types on damaged headers.
        raise ValueError(f"{name} is damaged or cut short ({error})") from error


def _checked_path(member: tarfile.TarInfo, archive: str) -> _Path:
    """The member's path; a member that could lead out of the archive or is no plain file is refused."""
    name = printable(member.name)
    parts = member.name.split("/")
    if member.name.startswith("/"):
        raise ValueError(f"{archive} has a member with an absolute path ({name}), which is refused")
    if ".." in parts:
        raise ValueError(f"{archive} has a member with a parent path ({name}), which is refused")
    if member.issym() or member.islnk():
        raise ValueError(
            f"{archive} has a link ({name} to {printable(member.linkname)}), and links are refused: pack it with"
            " tar --dereference --hard-dereference"
        )
    if member.issparse() or not (member.isreg() or member.isdir()):
        kind = "a sparse file" if member.issparse() else "a device, a pipe or of an unknown type"
        raise ValueError(f"{archive} has a member that is {kind} ({name}), expected plain files and folders")
    return tuple(part for part in parts if part not in ("", "."))
