"""A folder of class folders as a source."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .base import ImageSource, printable
from .image import MAX_FILE_BYTES, DecodeError, load_image
from .layout import MAX_DEPTH, arrange, is_image

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

    Raises
    ------
    ValueError
        The folder is not laid out as that; see `arrange`.
    OSError
        A folder in it cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str], minimum_classes: int = 2) -> None:
        root = os.fspath(path)
        layout = arrange(printable(root), _images(root, ()), minimum_classes)
        self._root = Path(root)
        self._paths = ["/".join(parts) for parts in layout.paths]
        super().__init__(printable(root), layout.classes, layout.labels, [printable(name) for name in self._paths])

    def load(self, index: int, at_least: int | None) -> Image.Image:
        """Image `index`; a file that cannot be read is a `DecodeError` too."""
        try:
            return load_image(self._root / self._paths[index], self.names[index], at_least)
        except OSError as error:
            raise DecodeError(self.names[index], error.strerror or str(error)) from error

    def contents(self, index: int) -> bytes:
        """The bytes of image `index`'s file."""
        with open(self._root / self._paths[index], "rb") as file:
            return file.read(MAX_FILE_BYTES)

    def size(self, index: int) -> int:
        """How many they are, without reading them."""
        return os.stat(self._root / self._paths[index]).st_size


def _images(folder: str, above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Image files below `folder`, one level deeper than is allowed at most, so that links in a circle end."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = (*above, entry.name)
            # Only links cost a system call each; a link to nothing counts as an image that cannot be read.
            linked = entry.is_symlink()
            if os.path.isdir(entry.path) if linked else entry.is_dir():
                if len(path) <= MAX_DEPTH:
                    yield from _images(entry.path, path)
            elif is_image(path) and (
                entry.is_file(follow_symlinks=False)
                or (linked and (os.path.isfile(entry.path) or not os.path.exists(entry.path)))
            ):
                yield path
