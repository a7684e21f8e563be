"""A tar archive of class folders as a source, read in place."""

from __future__ import annotations

import contextlib
import errno
import os
import tarfile
import weakref
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

import numpy as np

from ..base.files import naming
from .base import ImageSource, printable
from .decompress import decompress
from .image import MAX_FILE_BYTES, DecodeError, load_image
from .layout import Ignored, arrange

if TYPE_CHECKING:
    from PIL import Image

_Path = tuple[str, ...]
_CHUNK = 1 << 20


class ArchiveSource(ImageSource):
    """Images as ``class/file`` in a tar archive, or as ``common/class/file``.

    The archive is scanned once for the places of its members, and an image is then read from its place, so nothing is
    extracted under the names that the archive gives. A compressed archive (gzip, bzip2, xz) is first decompressed into
    a nameless temporary file, which goes when the source goes. Archives that were concatenated are read to
    the last.

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
        name, ignored = printable(os.fspath(path)), Ignored()
        places = _scan(self._file, name, ignored)
        layout = arrange(name, places, minimum_classes, ignored)
        self._offsets = np.array([places[path][0] for path in layout.paths], dtype=np.int64)
        self._sizes = np.array([places[path][1] for path in layout.paths], dtype=np.int64)
        super().__init__(name, layout.classes, layout.labels, layout.names, layout.ignored)

    def load(self, index: int, at_least: int | None) -> Image.Image:
        """Image `index`."""
        size = int(self._sizes[index])
        if size > MAX_FILE_BYTES:
            raise DecodeError(self.names[index], f"the file has more than {MAX_FILE_BYTES >> 20} MiB")
        try:
            data = os.pread(self._file, size, int(self._offsets[index]))
        except OSError as error:
            error.filename = self.name
            raise
        if len(data) != size:
            reason = f"it has become shorter, {self.names[index]} begins after its end"
            raise OSError(errno.EIO, reason, self.name)
        return load_image(data, self.names[index], at_least)

    def contents(self, index: int) -> bytes:
        """The bytes of image `index`'s file; fewer where the archive is cut short."""
        with naming(self.name):
            return os.pread(self._file, min(self.size(index), MAX_FILE_BYTES), int(self._offsets[index]))

    def size(self, index: int) -> int:
        """How many they are, by the archive."""
        return int(self._sizes[index])


def _scan(file: int, name: str, ignored: Ignored) -> dict[_Path, tuple[int, int]]:
    """The place (offset, bytes) of each regular file; of two with one name the later counts, as in extraction.

    Folders are there too, under their path and "".
    """
    places: dict[_Path, tuple[int, int]] = {}
    with os.fdopen(os.dup(file), "rb") as stream:
        try:
            for member in _members(stream, name, ignored):
                path = _checked_path(member, name)
                if member.isreg():
                    places[path] = (member.offset_data, member.size)
                elif path:
                    folder = (*path, "")
                    places[folder] = (0, 0)
        except OSError as error:
            error.filename = name
            raise
    return places


def _members(stream: IO[bytes], name: str, ignored: Ignored) -> Iterator[tarfile.TarInfo]:
    """The members of all archives in the stream, one after the other with zeros between.

    tarfile's own `ignore_zeros` does not do: it passes over damaged headers too.
    """
    start = 0
    while True:
        stream.seek(start)
        no_archive = "neither a folder of class folders nor a tar archive of one"
        with _damage(f"{name} is {'damaged or cut short' if start else no_archive}"):
            archive = tarfile.TarFile(fileobj=stream, mode="r")
        while True:
            with _damage(f"{name} is damaged or cut short"):
                member = archive.next()
            if member is None:
                break
            if member.size < 0:  # would send tarfile back over the same members for ever
                raise ValueError(f"{name} is damaged: member {printable(member.name)} has a negative size")
            yield member
            # tarfile keeps every member for lookup by name, a gigabyte for a million files; nothing here looks back.
            archive.members.clear()  # type: ignore[attr-defined]
        stream.seek(archive.offset)
        mark = stream.read(tarfile.BLOCKSIZE)
        if mark != bytes(tarfile.BLOCKSIZE):
            if archive.offset == start and b"ustar" not in mark:
                size = os.fstat(stream.fileno()).st_size - start
                ignored.add("after the end of the archive", (f"{size:,} bytes that are no archive",))
                return
            raise ValueError(f"{name} is cut short or damaged: its end-of-archive mark is missing")
        start = _behind_zeros(stream)
        if start < 0:
            return


def _behind_zeros(stream: IO[bytes]) -> int:
    """The offset of the next block that is not all zeros, -1 if there is none."""
    while data := stream.read(_CHUNK):
        if (zeros := len(data) - len(data.lstrip(b"\0"))) < len(data):
            return stream.tell() - len(data) + zeros // tarfile.BLOCKSIZE * tarfile.BLOCKSIZE
    return -1


@contextlib.contextmanager
def _damage(sentence: str) -> Iterator[None]:
    """Make an error of this sentence of the many types that tarfile raises, but for what the system raises."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise ValueError(f"{sentence} ({error})") from error


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
