"""A store as a source: squares that `prepare` has decoded, in NumPy files that are read in place."""

from __future__ import annotations

import bisect
import contextlib
import errno
import hashlib
import itertools
import json
import os
import reprlib
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..base.files import naming
from ..base.notices import say_once
from .base import ImageSource, printable
from .image import UInt8Array

if TYPE_CHECKING:
    from PIL import Image

#: What makes a folder a store.
STORE_NAME = "store.json"
LABELS_NAME = "labels.npy"
NAMES_NAME = "names.json"
FORMAT = "alexnet-cuda store"
VERSION = 1
# What store.json has, and of each shard; of a store that is finished more.
_KEYS = {"complete": bool, "side": int, "mode": str, "classes": list, "source": dict, "shards": list}
_SHARD_KEYS = {"file": str, "images": int, "sha256": str, "skipped": dict, "sums": list, "products": list}
_FINISHED_KEYS = {"files": dict, "colour": dict}
_CHUNK = 1 << 20
_SHOWN = 3


class StoreSource(ImageSource):
    """Images of a store; squares of its own side are copied from the system's page cache without decoding.

    Its files can be mapped (``np.load(path, mmap_mode="r")``), and here they are read with preadv all the same: where
    a disk fails or a file was cut, that is an error, while a mapped page is the end of the process (SIGBUS).

    Parameters
    ----------
    path : path
        The folder.
    minimum_classes : int
        Fewer are an error.

    Raises
    ------
    ValueError
        The store is not finished, of another version, or damaged: a file's shape is not what ``store.json`` says.
        Contents are held against their checksums by `verify` alone.
    OSError
        A file of it cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str], minimum_classes: int = 2) -> None:
        folder, name = Path(path), printable(os.fspath(path))
        index = _finished(folder)
        with damage(folder):
            self._opened: list[tuple[int, int]] = []  # of each shard: file descriptor, offset of the first image
            weakref.finalize(self, _close, self._opened)
            for shard in index["shards"]:
                self._opened.append(_open_shard(folder / shard["file"], (shard["images"], index["side"])))
            counts = [shard["images"] for shard in index["shards"]]
            self._starts = list(itertools.accumulate(counts, initial=0))[:-1]
            with naming(folder / LABELS_NAME):
                labels = np.load(folder / LABELS_NAME)
            names = json.loads((folder / NAMES_NAME).read_text(encoding="utf-8"))
            classes = index["classes"]
            if not sum(counts) == len(labels) == len(names) or not (labels.min() >= 0 and labels.max() < len(classes)):
                raise ValueError(f"{len(names)} names, {len(labels)} labels, {sum(counts)} images")
            skipped = [file for shard in index["shards"] for file in shard["skipped"]]
            colour = index["colour"]
            self.colour = (np.array(colour["mean"]), np.array(colour["covariance"]))
            self.side, self.mode = int(index["side"]), str(index["mode"])
            self._bytes = self.side * self.side * 3
            self.checksum = hashlib.sha256("".join(digest for _, digest in _checksums(index)).encode()).hexdigest()
        if len(classes) < minimum_classes:
            raise ValueError(f"{name} has {len(classes)} class ({classes[0]}), expected at least {minimum_classes}")
        more = f" and {len(skipped) - _SHOWN:,} more" if len(skipped) > _SHOWN else ""
        ignored = [f"could not be decoded: {', '.join(skipped[:_SHOWN])}{more}"] if skipped else []
        super().__init__(name, classes, labels, names, ignored)

    def load(self, index: int, at_least: int | None) -> Image.Image:
        """Image `index`, a square of the store's side; `at_least` has no meaning here."""
        from PIL import Image

        return Image.fromarray(self._stored(index))

    def contents(self, index: int) -> bytes:
        """The pixels of image `index`."""
        return self._stored(index).tobytes()

    def size(self, index: int) -> int:
        """How many bytes `contents` of image `index` are."""
        return self._bytes

    def read_into(self, index: int, out: UInt8Array, mode: str = "square") -> None:
        """Write the square of image `index` into `out`; of another side or `mode` than the store's it is resized."""
        if self.holds(len(out), mode):
            self._read(index, out)
        else:
            line = f"squares of {len(out)} pixels ({mode}) come from its squares of {self.side} ({self.mode}), and not"
            line += f" from the images themselves as of a store by prepare --side {len(out)} --resize-mode {mode}"
            say_once(self.name, f"{self.name}: {line}")
            super().read_into(index, out, mode)

    def _stored(self, index: int) -> UInt8Array:
        side = self.side or 0
        out = np.empty((side, side, 3), np.uint8)
        self._read(index, out)
        return out

    def _read(self, index: int, out: UInt8Array) -> None:
        number = bisect.bisect_right(self._starts, index) - 1
        file, start = self._opened[number]
        with naming(self.name):
            read = os.preadv(file, [out.data], start + (index - self._starts[number]) * self._bytes)
        if read != self._bytes:
            raise OSError(errno.EIO, f"shard {number} has become shorter, {self.names[index]} is beyond", self.name)


def read_index(folder: Path) -> dict[str, Any]:
    """What ``store.json`` says.

    Raises
    ------
    ValueError
        It is damaged, of another program or of another version.
    OSError
        It cannot be read.
    """
    with damage(folder):
        index: dict[str, Any] = json.loads((folder / STORE_NAME).read_text(encoding="utf-8"))
        if index["format"] != FORMAT or index["version"] != VERSION:
            raise ValueError(f"format {index['format']!r} version {index['version']!r}, expected {FORMAT!r} {VERSION}")
        _check_kinds(index, _KEYS | (_FINISHED_KEYS if index["complete"] else {}))
        for shard in index["shards"]:
            _check_kinds(shard, _SHARD_KEYS)
    return index


def _check_kinds(part: dict[str, Any], kinds: dict[str, type]) -> None:
    for key, kind in kinds.items():
        if type(part[key]) is not kind:
            raise TypeError(f"{key} is {reprlib.repr(part[key])}")


def _finished(folder: Path) -> dict[str, Any]:
    index = read_index(folder)
    if not index["complete"]:
        done = sum(shard["images"] for shard in index["shards"])
        raise ValueError(f"{folder} is not finished, it holds {done:,} images so far: run its prepare command again")
    return index


def verify(folder: Path, progress: Callable[[int, int], object] = lambda done, total: None) -> int:
    """Read all files of a store again and compare their checksums.

    Parameters
    ----------
    folder : Path
    progress : callable
        Called with the number of bytes read and of all.

    Returns
    -------
    int
        The number of bytes.

    Raises
    ------
    ValueError
        The store is not finished, or files of it, which are named, are missing or not as they were written.
    OSError
        A file cannot be read.
    """
    index = _finished(folder)
    with damage(folder):
        files = list(_checksums(index))
    present = {name for name, _ in files if (folder / name).exists()}
    total, done, wrong = sum((folder / name).stat().st_size for name in present), 0, []
    for name, expected in files:
        if name not in present:
            wrong.append(f"{name} is missing")
            continue
        if checksum(folder / name) != expected:
            wrong.append(f"{name} is not as it was written")
        done += (folder / name).stat().st_size
        progress(done, total)
    if wrong:
        raise ValueError(f"{folder}: {', '.join(wrong)}: delete what is wrong and run its prepare command again")
    return total


def checksum(path: Path) -> str:
    """SHA-256 of a file, as ``sha256sum`` prints it."""
    digest, buffer = hashlib.sha256(), memoryview(bytearray(_CHUNK))
    with naming(path), open(path, "rb", buffering=0) as file:
        while size := file.readinto(buffer):
            digest.update(buffer[:size])
    return digest.hexdigest()


def _checksums(index: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for shard in index["shards"]:
        yield shard["file"], shard["sha256"]
    yield from sorted(index.get("files", {}).items())


@contextlib.contextmanager
def damage(folder: Path) -> Iterator[None]:
    """Make whatever a damaged store causes a ValueError that names it; errors of the system stay."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder} is a damaged store, or of another release ({error})") from error


def _open_shard(path: Path, expected: tuple[int, int]) -> tuple[int, int]:
    images, side = expected
    with open(path, "rb") as file:
        np.lib.format.read_magic(file)
        shape, by_columns, dtype = np.lib.format.read_array_header_1_0(file)
        start, size = file.tell(), os.fstat(file.fileno()).st_size
        wanted = (images, side, side, 3)
        if shape != wanted or by_columns or dtype != np.uint8 or size != start + images * side * side * 3:
            raise ValueError(f"{path.name} has shape {list(shape)} and {size:,} bytes, expected uint8 {list(wanted)}")
        return os.dup(file.fileno()), start


def _close(opened: list[tuple[int, int]]) -> None:
    for file, _ in opened:
        os.close(file)
