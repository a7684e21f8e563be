"""A tar archive of class folders, or several archives, as a source, read in place."""

from __future__ import annotations

import contextlib
import errno
import os
import tarfile
import weakref
from collections.abc import Iterator, Sequence
from functools import partial
from typing import IO, TYPE_CHECKING

import numpy as np

from ..base.files import naming
from .base import ImageSource, printable
from .decompress import decompress
from .image import MAX_FILE_BYTES, DecodeError, load_image
from .labels import classes_beside, key
from .layout import Classes, Ignored, alone, arrange, is_image

if TYPE_CHECKING:
    from PIL import Image

_Path = tuple[str, ...]
_Places = dict[_Path, tuple[int, int, int]]  # of each file: number of the archive, offset, bytes
_CHUNK = 1 << 20
#: By which archives in an archive or a folder are known.
ENDING = ".tar"


class ArchiveSource(ImageSource):
    """Images as ``class/file`` in a tar archive, or as ``common/class/file``; or as files in an archive for each class.

    Archives in an archive, or in a folder, count as folders of the name that they have without ``.tar``, as in
    ILSVRC's archive of training images. Where files with the endings .cls or .json lie beside the images (WebDataset),
    those say the class.

    The archive is scanned once for the places of its members, and an image is then read from its place, so nothing is
    extracted under the names that the archive gives. A compressed archive (gzip, bzip2, xz) is first decompressed into
    a nameless temporary file, which goes when the source goes. Archives that were concatenated are read to
    the last.

    Parameters
    ----------
    path : path
        The archive, or a folder of archives that are not compressed. The contents of an archive, not its name, say
        whether and how it is compressed.
    minimum_classes : int
        Fewer are an error.
    given : callable, optional
        As of `arrange`.
    names : sequence of str, optional
        The classes that numbers in .cls and .json files mean, from 0.

    Raises
    ------
    ValueError
        It is no tar archive, is damaged or cut short, decompresses to far more than images could, has a member with an
        absolute or parent path, a link, a device, or is not laid out as class folders.
    OSError
        It cannot be read, or there is no room for the decompressed copy.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        minimum_classes: int = 2,
        given: Classes | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        places: _Places = {}
        self.name = name = printable(os.fspath(path))
        ignored = Ignored()
        # An archive is held open, a folder's are not: there may be more than a process can open.
        self._archives: list[int | str] = []
        if os.path.isdir(path):
            for file in alone(path, ENDING):
                self._archives.append(os.path.join(path, file))
                with open(os.path.join(path, file), "rb") as stream:
                    above = (os.path.splitext(file)[0],)
                    _scan(stream, f"{name}/{printable(file)}", above, len(self._archives) - 1, places, ignored)
        else:
            self._archives.append(archive := decompress(path))
            weakref.finalize(self, os.close, archive)
            with os.fdopen(os.dup(archive), "rb") as stream:
                _scan(stream, name, (), 0, places, ignored)
        if given is None and (beside := _beside(places, isinstance(self._archives[0], str))):
            found = ((path, places.pop(path)) for path in beside)
            texts = {path: self._bytes(*place) for path, place in found if path[-1].endswith((".cls", ".json"))}
            given = partial(classes_beside, texts, names, name)
        elif given is None and names is not None:
            raise ValueError(f"{name} has its classes by name, so there is no use for --classes")
        layout = arrange(name, places, minimum_classes, ignored, given)
        self._places = np.array([places[path] for path in layout.paths], dtype=np.int64)
        super().__init__(name, layout.classes, layout.labels, layout.names, layout.ignored)

    def load(self, index: int, at_least: int | None) -> Image.Image:
        """Image `index`."""
        size = self.size(index)
        if size > MAX_FILE_BYTES:
            raise DecodeError(self.names[index], f"the file has more than {MAX_FILE_BYTES >> 20} MiB")
        data = self.contents(index)
        if len(data) != size:
            reason = f"it has become shorter, {self.names[index]} begins after its end"
            raise OSError(errno.EIO, reason, self.name)
        return load_image(data, self.names[index], at_least)

    def contents(self, index: int) -> bytes:
        """The bytes of image `index`'s file; fewer where the archive is cut short."""
        return self._bytes(*self._places[index].tolist())

    def size(self, index: int) -> int:
        """How many they are, by the archive."""
        return int(self._places[index, 2])

    def _bytes(self, number: int, offset: int, size: int) -> bytes:
        archive = self._archives[number]
        with naming(self.name if isinstance(archive, int) else archive), contextlib.ExitStack() as stack:
            if isinstance(archive, str):
                archive = stack.enter_context(open(archive, "rb", buffering=0)).fileno()
            return os.pread(archive, min(size, MAX_FILE_BYTES), offset)


def _beside(places: _Places, several: bool) -> list[_Path]:
    """The files beside images (WebDataset), if they are to say the classes.

    So they are where there is a .cls file, and where images lie in no folder of their archive.
    """
    others = [path for path in places if path[-1] and not is_image(path)]
    if not others:
        return []
    images = [path for path in places if is_image(path)]
    samples = {key(path) for path in images}
    beside = [path for path in others if key(path) in samples]
    flat = all(len(path) == 1 + several for path in images)
    return beside if flat or any(path[-1].endswith(".cls") for path in beside) else []


def _scan(stream: IO[bytes], name: str, above: _Path, number: int, places: _Places, ignored: Ignored) -> None:
    """Add the place of each regular file below the path `above`; of two with one name the later counts.

    Folders are there too, under their path and "". Archives in the archive are looked into if it has no images itself.
    """
    archives: dict[_Path, tuple[int, int]] = {}
    images = False
    end = os.fstat(stream.fileno()).st_size
    with naming(name):
        for member in _members(stream, name, ignored, 0, end):
            path = (*above, *_checked_path(member, name))
            if member.isreg():
                places[path] = (number, member.offset_data, member.size)
                images = images or is_image(path)
                if path[-1].endswith(ENDING):
                    archives[path] = (member.offset_data, member.size)
            elif path:
                folder = (*path, "")
                places[folder] = (number, 0, 0)
        for path, (start, size) in archives.items() if not images else ():
            del places[path]
            within = (*path[:-1], path[-1].removesuffix(ENDING))
            inner = f"{name}: {printable('/'.join(path))}"
            for member in _members(stream, inner, ignored, start, start + size):
                if member.isreg():
                    file = (*within, *_checked_path(member, inner))
                    places[file] = (number, member.offset_data, member.size)


def _members(stream: IO[bytes], name: str, ignored: Ignored, start: int, end: int) -> Iterator[tarfile.TarInfo]:
    """The members of all archives in this part of the stream, one after the other with zeros between.

    tarfile's own `ignore_zeros` does not do: it passes over damaged headers too.
    """
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
            if archive.offset > end:
                raise ValueError(f"{name} is damaged or cut short (it goes on beyond its {end - start:,} bytes)")
            if member.size < 0:  # would send tarfile back over the same members for ever
                raise ValueError(f"{name} is damaged: member {printable(member.name)} has a negative size")
            yield member
            # tarfile keeps every member for lookup by name, a gigabyte for a million files; nothing here looks back.
            archive.members.clear()  # type: ignore[attr-defined]
        stream.seek(archive.offset)
        mark = stream.read(min(tarfile.BLOCKSIZE, end - archive.offset))
        if mark != bytes(tarfile.BLOCKSIZE):
            if archive.offset == start and b"ustar" not in mark:
                ignored.add("after the end of the archive", (f"{end - start:,} bytes that are no archive",))
                return
            raise ValueError(f"{name} is cut short or damaged: its end-of-archive mark is missing")
        start = _behind_zeros(stream, end)
        if start < 0:
            return


def _behind_zeros(stream: IO[bytes], end: int) -> int:
    """The offset of the next block before `end` that is not all zeros, -1 if there is none."""
    while data := stream.read(min(_CHUNK, end - stream.tell())):
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
