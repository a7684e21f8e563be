"""A folder of class folders as a source."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..base.files import naming
from .base import ImageSource, printable
from .image import MAX_FILE_BYTES, load_image
from .layout import MAX_DEPTH, Classes, Ignored, arrange, left_out

if TYPE_CHECKING:
    from PIL import Image


class FolderSource(ImageSource):
    """Images as ``class/file`` below a folder, or as ``common/class/file``.

    Parameters
    ----------
    path : path
        The folder. Links below it are followed.
    minimum_classes : int
        Fewer are an error.
    given : callable, optional
        As of `arrange`.

    Raises
    ------
    ValueError
        The folder is not laid out as that; see `arrange`.
    OSError
        A folder in it cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str], minimum_classes: int = 2, given: Classes | None = None) -> None:
        root = os.fspath(path)
        ignored = Ignored()
        layout = arrange(printable(root), _found(root, (), ignored), minimum_classes, ignored, given)
        self._root = Path(root)
        self._paths = ["/".join(parts) for parts in layout.paths]
        super().__init__(printable(root), layout.classes, layout.labels, layout.names, layout.ignored)

    def load(self, index: int, at_least: int | None) -> Image.Image:
        """Image `index`."""
        return load_image(self._root / self._paths[index], self.names[index], at_least)

    def contents(self, index: int) -> bytes:
        """The bytes of image `index`'s file."""
        path = self._root / self._paths[index]
        with naming(path), open(path, "rb") as file:
            return file.read(MAX_FILE_BYTES)

    def size(self, index: int) -> int:
        """How many they are, without reading them."""
        return os.stat(self._root / self._paths[index]).st_size


def _found(folder: str, above: tuple[str, ...], ignored: Ignored) -> Iterator[tuple[str, ...]]:
    """Files and folders below `folder`, one level deeper than is allowed at most, so that links in a circle end."""
    with os.scandir(folder) as entries:
        for entry in entries:
            path = (*above, entry.name)
            kind = _kind(entry)
            if kind == stat.S_IFREG:
                yield path
            elif kind == stat.S_IFDIR:
                yield (*path, "")
                if len(path) <= MAX_DEPTH and left_out(entry.name) is None:
                    yield from _found(entry.path, path, ignored)
            else:
                ignored.add("links to nothing" if kind is None else "neither a file nor a folder", path)


def _kind(entry: os.DirEntry[str]) -> int | None:
    """Whether it is a file, a folder or something else, as ``stat.S_IFMT`` has it; None for a link to nothing."""
    if not entry.is_symlink():  # only links and what is special cost a system call each
        if entry.is_dir():
            return stat.S_IFDIR
        if entry.is_file():
            return stat.S_IFREG
    try:
        return stat.S_IFMT(os.stat(entry.path).st_mode)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return None
        raise
