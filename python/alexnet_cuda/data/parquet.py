"""Parquet files of images, as Hugging Face's libraries write them, as a source."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..base.files import naming
from ..base.wording import counted
from .base import ImageSource, Int64Array, composed, printable
from .image import DecodeError, load_image
from .layout import alone

if TYPE_CHECKING:
    from PIL import Image

#: By which a file, or the files of a folder, are known.
ENDING = ".parquet"
# Row groups that are kept. Images are read a group at a time, so in any other order than theirs reading is slow.
_KEPT = 8


class ParquetSource(ImageSource):
    """Images of Parquet files with one column of images (a structure of ``bytes`` and ``path``) and one of labels.

    The classes have the names that the files' ``huggingface`` metadata give, else their numbers.

    Parameters
    ----------
    path : path
        A file, or a folder of files of one split.
    minimum_classes : int
        Fewer are an error.

    Raises
    ------
    ValueError
        A file is damaged or has other columns, an image has no label, or the files are of several splits.
    ImportError
        pyarrow is missing.
    OSError
        A file cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str], minimum_classes: int = 2) -> None:
        name = printable(os.fspath(path))
        try:
            from pyarrow import parquet
        except ImportError as error:
            raise ImportError(f"{name}: pyarrow is missing, pip install 'alexnet-cuda[parquet]'") from error
        self._files = [Path(path, file) for file in alone(path, ENDING)] if os.path.isdir(path) else [Path(path)]
        if len(splits := sorted({_split(file) for file in self._files})) > 1:
            raise ValueError(f"{name} has files of several splits ({', '.join(splits[:3])}), expected those of one")
        self._open = parquet.ParquetFile
        self._group = lru_cache(_KEPT)(self._read_group)
        labels: list[str] = []
        rows: list[Int64Array] = []  # for each image: file, group, row in it, bytes of the group
        names: list[str] = []
        for number, file in enumerate(self._files):
            with _named(file), self._open(file) as table:
                self._image, label, classes = _columns(table.schema_arrow)
                for value in table.read(columns=[label]).column(0).to_pylist():
                    if value is None or value < 0:
                        raise ValueError(f"image {len(labels):,} has no label ({value})")
                    labels.append(composed(classes[value]) if classes else str(value))
                for group in range(table.num_row_groups):
                    facts = table.metadata.row_group(group)
                    rows.append(np.full((facts.num_rows, 4), (number, group, 0, facts.total_byte_size), np.int64))
                    rows[-1][:, 2] = np.arange(facts.num_rows)
                names += (f"{printable(file.name)}/{row:06}" for row in range(table.metadata.num_rows))
        numbers = all(label.isdigit() for label in labels)
        sorted_classes = sorted(set(labels), key=lambda label: (int(label) if numbers else 0, label))
        if len(sorted_classes) < minimum_classes:
            raise ValueError(f"{name} has {counted(len(sorted_classes), 'class')}, expected at least {minimum_classes}")
        place = {label: i for i, label in enumerate(sorted_classes)}
        self._rows = np.concatenate(rows)
        super().__init__(name, sorted_classes, [place[label] for label in labels], names)

    def load(self, index: int, at_least: int | None) -> Image.Image:
        """Image `index`."""
        return load_image(self.contents(index), self.names[index], at_least)

    def contents(self, index: int) -> bytes:
        """The bytes of image `index`'s file."""
        file, group, row, _ = self._rows[index].tolist()
        data = self._group(file, group)[row].as_py()
        if not isinstance(data, bytes):
            raise DecodeError(self.names[index], "there are no bytes of it, only a path perhaps")
        return data

    def size(self, index: int) -> int:
        """How many bytes its row group has: the image's own number is known only by reading it."""
        return int(self._rows[index, 3])

    def _read_group(self, number: int, group: int) -> Any:
        with _named(self._files[number]), self._open(self._files[number]) as table:
            column = table.read_row_group(group, columns=[f"{self._image}.bytes"]).column(0)
        return column.combine_chunks().field("bytes")


def _split(file: Path) -> str:
    """The split by a file's name: train-00000-of-00002, train_0 and train are of one, 0000 and 0001 of another."""
    return re.sub(r"(^|[._])\d+$", "", file.stem.partition("-")[0])


@contextlib.contextmanager
def _named(file: Path) -> Iterator[None]:
    """Name the file in whatever a damaged one causes."""
    try:
        with naming(file):
            yield
    except (ValueError, LookupError, AttributeError) as error:  # pyarrow's own are ValueErrors
        raise ValueError(f"{printable(os.fspath(file))} cannot be used: {error}") from error


def _columns(schema: Any) -> tuple[str, str, list[str] | None]:
    """The columns of images and of labels, and the names that the numbers of labels mean."""
    from pyarrow import types

    images = [f.name for f in schema if types.is_struct(f.type) and "bytes" in {part.name for part in f.type}]
    labels = [f.name for f in schema if types.is_integer(f.type)]
    labels = ["label"] if "label" in labels else labels
    if len(images) != 1 or len(labels) != 1:
        raise ValueError(f"its columns are {schema.names}, expected one of images and one of whole numbers, label")
    features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    return images[0], labels[0], features.get(labels[0], {}).get("names")
