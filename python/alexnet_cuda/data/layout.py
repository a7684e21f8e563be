"""From the paths found in a source to classes and labels; the same rules for a folder and for an archive."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from ..base.files import CHECKPOINT_NAME, CURVES_NAME, FILTERS_NAME, LOCK_NAME, METRICS_NAME, PAGE_NAME, SHOWN_PREFIX
from .base import composed, printable
from .image import IMAGE_SUFFIXES

Path = tuple[str, ...]  # the components of a path, relative to the source; of a folder's own path the last is ""
Classes = Callable[[Sequence[Path]], Sequence[str]]  # names them, image by image

#: Deepest path of an image: common folder, class folder, file.
MAX_DEPTH = 3

# What systems, file servers and programs leave among people's files, in lower case.
_LEFT_BY_SYSTEMS = frozenset(
    {
        "#recycle", "#snapshot", "$recycle.bin", "@eadir", "@recently-snapshot", "@recycle", "__macosx", "__pycache__",
        "desktop.ini", "lost+found", "system volume information", "thumbs.db",
    }
)  # fmt: skip
_SHOWN = 3


class Ignored:
    """What of a source is left out, by reason."""

    def __init__(self) -> None:
        self._paths: dict[str, dict[Path, None]] = {}

    def add(self, reason: str, path: Path) -> None:
        """Note a file or folder; a second time changes nothing."""
        self._paths.setdefault(reason, {})[path] = None

    def sentences(self) -> tuple[str, ...]:
        """Each reason with the first paths and the number of the others."""
        out = []
        for reason, paths in sorted(self._paths.items()):
            shown = ", ".join(printable("/".join(path)) for path in sorted(paths)[:_SHOWN])
            more = f" and {len(paths) - _SHOWN:,} more" if len(paths) > _SHOWN else ""
            out.append(f"{reason}: {shown}{more}")
        return tuple(out)


class Layout(NamedTuple):
    """Images sorted by class and file name, with their labels."""

    classes: tuple[str, ...]
    paths: list[Path]
    names: list[str]  # the paths as text that can be printed and compared
    labels: list[int]
    ignored: tuple[str, ...]


def is_image(path: Path) -> bool:
    """Whether a file is one by its ending."""
    return os.path.splitext(path[-1])[1].lower() in IMAGE_SUFFIXES


def alone(folder: str | os.PathLike[str], ending: str) -> list[str]:
    """The names with this ending in a folder; none where it has folders or images, which then are what is meant."""
    with os.scandir(folder) as entries:
        kinds = {entry.name: entry.is_dir() for entry in entries if left_out(entry.name) is None}
    if any(is_folder or is_image((name,)) for name, is_folder in kinds.items()):
        return []
    return sorted(name for name in kinds if name.endswith(ending))


def left_out(name: str) -> str | None:
    """Why a file or folder of this name does not count, None if it does."""
    if name.startswith("."):
        return "hidden"
    return "left by a system or program" if name.lower() in _LEFT_BY_SYSTEMS else None


def arrange(
    source: str, found: Iterable[Path], minimum_classes: int, ignored: Ignored, given: Classes | None = None
) -> Layout:
    """Group images by the folder that holds them, or as is given.

    Parameters
    ----------
    source : str
        What errors call the source.
    found : iterable of path components
        All files and folders. The images among them are ``(class, file)`` or all ``(common folder, class, file)``.
    minimum_classes : int
        Fewer are an error.
    ignored : Ignored
        What is left out already.
    given : callable, optional
        Says the class of each image, wherever it lies; numbers are sorted as numbers.

    Raises
    ------
    ValueError
        There are no images, images outside class folders or at different depths, too few classes, or a class name that
        is not valid UTF-8 or looks like another one.
    """
    images, folders = _select(found, ignored)
    if not images:
        endings = ", ".join(sorted(IMAGE_SUFFIXES))
        raise ValueError(f"{source} holds no images (files ending in {endings}){_besides(ignored)}")
    # A zero, which no name holds, sorts before all that they hold: the order is that of the tuples.
    keys, paths = zip(*sorted((composed("\0".join(path)), path) for path in images), strict=True)
    if given is None:
        _check_depth(source, paths)
        own = [composed(path[-2]) for path in paths]
        classes = _classes(source, paths)
    else:
        own = [composed(name) for name in given(paths)]
        numbers = all(name.isascii() and name.isdigit() for name in own)
        classes = sorted(set(own), key=lambda name: (int(name) if numbers else 0, name))
    depth = len(paths[0])
    filled = {path[:k] for path in paths for k in range(depth)}
    for folder in folders - filled:
        if len(folder) < depth and folder[:-1] in filled:  # of empty folders in each other the outermost
            ignored.add("folders without images", folder)
    if len(classes) < minimum_classes:
        raise ValueError(
            f"{source} has {len(classes)} class ({classes[0]}), expected at least {minimum_classes} folders of images"
            f"{_besides(ignored)}"
        )
    label = {name: i for i, name in enumerate(classes)}
    names = [printable(key.replace("\0", "/")) for key in keys]
    return Layout(tuple(classes), list(paths), names, [label[name] for name in own], ignored.sentences())


def _select(found: Iterable[Path], ignored: Ignored) -> tuple[list[Path], set[Path]]:
    """The images among the files, and the folders that could hold images; the rest goes to `ignored`."""
    images: list[Path] = []
    others: list[Path] = []
    folders: dict[Path, bool] = {(): True}  # whether it counts
    for path in found:
        if path[:-1] not in folders:
            for k in range(1, len(path)):
                folders[path[:k]] = folders[path[: k - 1]] and _counts(path[:k], ignored)
        name = path[-1]
        if name and folders[path[:-1]] and _counts(path, ignored):
            (images if is_image(path) else others).append(path)
    runs = {path[:-1] for path in others if path[-1] in (CHECKPOINT_NAME, METRICS_NAME, LOCK_NAME)}
    pages = {path[:-1] for path in others if path[-1] == PAGE_NAME}
    kept = []
    for path in images:
        drawn = path[-1] in (CURVES_NAME, FILTERS_NAME) or path[-1].startswith(SHOWN_PREFIX)
        if drawn and path[:-1] in runs | pages:
            ignored.add("pictures of a training run", path)
        else:
            kept.append(path)
    for path in others:
        if path[:-1] not in runs:
            ignored.add("no image by the ending", path)
    counting = {folder for folder, counts in folders.items() if counts}
    return kept, counting - {run[:k] for run in runs for k in range(len(run) + 1)}


def _counts(path: Path, ignored: Ignored) -> bool:
    reason = left_out(path[-1])
    if reason is not None:
        ignored.add(reason, path)
    return reason is None


def _besides(ignored: Ignored) -> str:
    return "".join(f"; {sentence}" for sentence in ignored.sentences())


def _check_depth(source: str, paths: Sequence[Path]) -> None:
    depths = {len(path): path for path in reversed(paths)}
    if len(depths) > 1:
        one, other = (printable("/".join(depths[depth])) for depth in sorted(depths)[:2])
        raise ValueError(
            f"{source} has images at different depths ({one} and {other}), expected all of them as class/file"
        )
    depth = len(paths[0])
    tops = sorted({path[0] for path in paths})
    if depth == 1:
        raise ValueError(
            f"{source} has its images in no class folder ({printable(paths[0][0])}), expected class/file: where a list"
            " says the classes, alexnet-cuda prepare takes it by --labels"
        )
    if depth == MAX_DEPTH and len(tops) > 1:
        raise ValueError(
            f"{source} has {len(tops)} folders of class folders ({printable(', '.join(tops[:3]))}): give one of them"
        )
    if depth > MAX_DEPTH:
        raise ValueError(
            f"{source} has images too many folders deep ({printable('/'.join(paths[0]))}), expected class/file with at"
            " most one folder around all classes"
        )


def _classes(source: str, paths: Sequence[Path]) -> list[str]:
    raw = {path[-2] for path in paths}
    classes = sorted({composed(name) for name in raw})
    for name in classes:
        if printable(name) != name:
            raise ValueError(f"{source} has a class folder whose name is not UTF-8: {printable(name)}")
    if len(classes) < len(raw):
        twice = next(name for name in classes if sum(composed(other) == name for other in raw) > 1)
        raise ValueError(
            f"{source} has two class folders that are both called {twice}, once in composed and once in decomposed"
            " Unicode letters (NFC and NFD): put their images into one"
        )
    return classes
