"""Making a store: every image of a source decoded once, shard by shard, so that what is finished is never lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from ..base.cores import available_cores
from ..base.files import LOCK_NAME, atomic_path
from ..base.folder_lock import locked_folder
from ..config import RESIZE_MODES
from .base import ImageSource
from .fingerprint import difference, fingerprint
from .loader import Batch, BrokenImages, Loader, TooManyBroken
from .statistics import colour_sums, moments
from .store import FORMAT, LABELS_NAME, NAMES_NAME, STORE_NAME, VERSION, StoreSource, checksum, read_index

_BATCH = 32
# Images a shard, a multiple of `_BATCH`: what a killed process loses at most. A source holds all its shards open.
_LEAST, _MOST_SHARDS = 1024, 128
_SLACK = 1 << 20  # what the small files take, roughly
_FULL = (errno.ENOSPC, errno.EDQUOT)


def prepare(
    source: ImageSource,
    output: str | os.PathLike[str],
    *,
    side: int = 256,
    mode: str = "square",
    workers: int | None = None,
    max_broken: float = 1.0,
    progress: Callable[[int, int, int], object] = lambda done, total, here: None,
) -> StoreSource:
    """Decode all images of a source into a store, or go on with one.

    A store is a folder of ``store.json`` and of the files that it names with their SHA-256: ``shard-00000.npy`` and so
    on, uint8 [n, side, side, 3], RGB, the squares that `ImageSource.read_square` gives in the order of the source;
    ``labels.npy``, int64 [N]; ``names.json``, the file of each image. ``store.json`` also holds the class names, the
    files that could not be decoded, by shard, and mean and covariance of the RGB values of all images. The same source
    gives the same bytes, however often it was interrupted.

    Each shard is on the disk before it is entered in ``store.json``. What is not entered, or is gone, is made anew.

    Parameters
    ----------
    source : ImageSource
    output : path
        The folder: a new or empty one, or a store of the same source and side.
    side : int
        Of the squares, in pixels.
    mode : str
        Of the squares: see `Config.resize_mode`.
    workers : int, optional
        Threads that decode; by default one for each core.
    max_broken : float
        Part of the images that may be broken, 0 to 1.
    progress : callable
        Called with the numbers of images that are done, of all, and of those done by this call.

    Returns
    -------
    StoreSource

    Raises
    ------
    ValueError
        A number is out of range, or the folder holds something else.
    FolderInUse
        Another process writes there.
    TooManyBroken, ReadError
        As of `Loader`.
    OSError
        There is not enough room, or the folder cannot be written. What is finished stays.
    """
    if side < 1:
        raise ValueError(f"side must be at least 1, got {side}")
    if mode not in RESIZE_MODES:
        raise ValueError(f"mode must be one of {', '.join(RESIZE_MODES)}, got {mode!r}")
    workers = available_cores() if workers is None else workers
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    broken = BrokenImages(max_broken, source)
    folder = Path(output)
    with locked_folder(folder):
        index = _begun(source, folder, side, mode)
        per_shard = -(-max(_LEAST, -(-len(source) // _MOST_SHARDS)) // _BATCH) * _BATCH
        shards = -(-len(source) // per_shard)
        todo = [number for number in range(shards) if _file(number) not in {shard["file"] for shard in index["shards"]}]
        if todo or not index["complete"]:
            for left in folder.glob(".*.tmp"):  # of a process that was killed
                left.unlink()
            index["complete"] = False
            _check_room(folder, sum(min(per_shard, len(source) - n * per_shard) for n in todo) * side * side * 3)
            try:
                _write_index(folder, index)
                _fill(source, folder, index, todo, per_shard, workers, broken, progress)
                _finish(source, folder, index)
            except OSError as error:
                if error.errno in _FULL:
                    advice = f"{error.strerror}: what is finished stays, make room and run the same command again"
                    raise OSError(error.errno, advice, error.filename) from error
                raise
    return StoreSource(folder, 1)


def _file(number: int) -> str:
    return f"shard-{number:05}.npy"


def _begun(source: ImageSource, folder: Path, side: int, mode: str) -> dict[str, Any]:
    """What ``store.json`` says, of the shards that are there, or is to say at the beginning."""
    identity = fingerprint(source)
    start: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "complete": False,
        "side": side,
        "mode": mode,
        "classes": list(source.classes),
        "source": identity,
        "shards": [],
    }
    if not (folder / STORE_NAME).exists():
        if held := sorted(set(os.listdir(folder)) - {LOCK_NAME, f".{STORE_NAME}.tmp"}):
            raise ValueError(f"{folder} holds {held[0]} and is no store: give a new folder")
        return start
    index = read_index(folder)
    if found := difference(index["source"], identity):
        raise ValueError(f"{folder} is a store of another source than {source.name} ({found}): give a new folder")
    for key, value in (("side", side), ("mode", mode)):
        if index[key] != value:
            raise ValueError(f"{folder} is a store of another {key} ({index[key]}, not {value}): give a new folder")
    row = side * side * 3
    index["shards"] = [shard for shard in index["shards"] if _size(folder / shard["file"]) > shard["images"] * row]
    whole = index["complete"] and all((folder / name).exists() for name in index["files"])
    return index if whole else {**start, "shards": index["shards"]}


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed + _SLACK:
        reason = f"{needed / 1e9:,.1f} GB are needed for the images that are missing, {free / 1e9:,.1f} GB are free"
        raise OSError(errno.ENOSPC, reason, os.fspath(folder))


def _fill(
    source: ImageSource,
    folder: Path,
    index: dict[str, Any],
    todo: list[int],
    per_shard: int,
    workers: int,
    broken: BrokenImages,
    progress: Callable[[int, int, int], object],
) -> None:
    """Write the shards that are missing, each entered in ``store.json`` once it is there."""
    if not todo:
        return
    places = np.concatenate([np.arange(n * per_shard, min((n + 1) * per_shard, len(source))) for n in todo])
    for place, reason in _skipped(source, index):
        broken.add(source, place, reason)
    rest = source.subset(places)
    options: dict[str, Any] = {"workers": workers, "cache_bytes": 0, "max_broken": broken, "mode": index["mode"]}
    loader = Loader(rest, index["side"], _BATCH, shuffle=False, **options)
    with closing(_batches(loader, broken, any(shard["images"] for shard in index["shards"]))) as batches:
        batch: Batch | None = None
        here, before = 0, len(source) - len(rest)
        for number in todo:
            kept, sums, products = 0, np.zeros(3, np.int64), np.zeros((3, 3), np.int64)
            planned = min(per_shard, len(source) - number * per_shard)
            end = int(np.searchsorted(places, number * per_shard + planned))
            with atomic_path(folder / _file(number)) as temporary, open(temporary, "wb") as file:
                _write_header(file, planned, index["side"])
                while here < end and (batch := batch or next(batches, None)) and batch.indices[0] < end:
                    file.write(batch.images.data)
                    kept += len(batch.images)
                    for total, more in zip((sums, products), colour_sums(batch.images), strict=True):
                        total += more
                    here = int(batch.indices[-1]) + 1
                    progress(before + here, len(source), here)
                    batch = None  # the next is asked for when this shard is there: it may be an error
                file.seek(0)
                _write_header(file, kept, index["side"])
            names = {source.names[place] for place in range(number * per_shard, number * per_shard + planned)}
            entry = {
                "file": _file(number),
                "images": kept,
                "sha256": checksum(folder / _file(number)),
                "skipped": {name: reason for name, reason in loader.skipped.items() if name in names},
                "sums": sums.tolist(),
                "products": products.tolist(),
            }
            index["shards"] = sorted([*index["shards"], entry], key=lambda shard: str(shard["file"]))
            _write_index(folder, index)


def _write_header(file: Any, images: int, side: int) -> None:
    """NumPy leaves room in it for any number of images, so it can be written anew in its place."""
    shape = (images, side, side, 3)
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _batches(loader: Loader, broken: BrokenImages, kept_before: bool) -> Generator[Batch]:
    """Those of the only epoch; where the rest of a store that has images turns out all broken, none."""
    try:
        yield from loader.epoch(0)
    except TooManyBroken:
        if not kept_before or len(loader.skipped) < len(loader.source) or broken.share > broken.most:
            raise


def _skipped(source: ImageSource, index: dict[str, Any]) -> Iterator[tuple[int, str]]:
    """Places in the source, with the reason, of the images that are left out of the shards so far."""
    reasons = {name: reason for shard in index["shards"] for name, reason in shard["skipped"].items()}
    if reasons:
        yield from ((place, reasons[name]) for place, name in enumerate(source.names) if name in reasons)


def _finish(source: ImageSource, folder: Path, index: dict[str, Any]) -> None:
    """Write what is of all shards, and at last that the store is complete."""
    kept = np.ones(len(source), np.bool_)
    kept[[place for place, _ in _skipped(source, index)]] = False
    with atomic_path(folder / LABELS_NAME) as temporary, open(temporary, "wb") as file:
        np.save(file, source.labels[kept])
    names = [source.names[place] for place in np.flatnonzero(kept).tolist()]
    _write_json(folder / NAMES_NAME, names)
    sums, products = (np.sum([shard[key] for shard in index["shards"]], axis=0) for key in ("sums", "products"))
    mean, covariance = moments(sums, products, len(names) * index["side"] ** 2)
    index["images"] = len(names)
    index["files"] = {name: checksum(folder / name) for name in (LABELS_NAME, NAMES_NAME)}
    index["colour"] = {"mean": mean.tolist(), "covariance": covariance.tolist()}
    index["complete"] = True
    _write_index(folder, index)


def _write_index(folder: Path, index: dict[str, Any]) -> None:
    _write_json(folder / STORE_NAME, index)


def _write_json(path: Path, value: Any) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
