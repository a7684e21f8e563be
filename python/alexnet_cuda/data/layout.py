"""From the paths of image files to classes and labels; the same rules for a folder and for an archive."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from .base import printable
from .image import IMAGE_SUFFIXES

Path = tuple[str, ...]  # the components of a path, relative to the source

#: Deepest path of an image: common folder, class folder, file.
MAX_DEPTH = 3


class Layout(NamedTuple):
    """Images sorted by class and file name, with their labels."""

    classes: tuple[str, ...]
    paths: list[Path]
    labels: list[int]


def is_image(path: Path) -> bool:
    """Whether the file counts as an image: a known ending, and nothing hidden (so no ``._`` files of macOS either)."""
    dot = path[-1].rfind(".")
    return dot > 0 and path[-1][dot:].lower() in IMAGE_SUFFIXES and not any(part.startswith(".") for part in path)


def arrange(source: str, images: Iterable[Path], minimum_classes: int) -> Layout:
    """Group images by the folder that holds them.

    Parameters
    ----------
    source : str
        What errors call the source.
    images : iterable of path components
        The image files, ``(class, file)`` or all of them ``(common folder, class, file)``.
    minimum_classes : int
        Fewer are an error.

    Raises
    ------
    ValueError
        There are no images, images outside class folders or at different depths, too few classes, or a class name that
        is not valid UTF-8.
    """
    paths = sorted(images)
    if not paths:
        raise ValueError(f"{source} holds no images (files ending in {', '.join(sorted(IMAGE_SUFFIXES))})")
    depths = {len(path): path for path in reversed(paths)}
    if len(depths) > 1:
        one, other = (printable("/".join(depths[depth])) for depth in sorted(depths)[:2])
        raise ValueError(
            f"{source} has images at different depths ({one} and {other}), expected all of them as class/file"
        )
    depth = len(paths[0])
    tops = sorted({path[0] for path in paths})
    if depth == 1:
        raise ValueError(f"{source} has its images in no class folder ({printable(paths[0][0])}), expected class/file")
    if depth == MAX_DEPTH and len(tops) > 1:
        raise ValueError(
            f"{source} has {len(tops)} folders of class folders ({printable(', '.join(tops[:3]))}): give one of them"
        )
    if depth > MAX_DEPTH:
        raise ValueError(
            f"{source} has images too many folders deep ({printable('/'.join(paths[0]))}), expected class/file with at"
            " most one folder around all classes"
        )
    classes = sorted({path[-2] for path in paths})
    for name in classes:
        if printable(name) != name:
            raise ValueError(f"{source} has a class folder whose name is not UTF-8: {printable(name)}")
    if len(classes) < minimum_classes:
        raise ValueError(
            f"{source} has {len(classes)} class ({classes[0]}), expected at least {minimum_classes} folders of images"
        )
    label = {name: i for i, name in enumerate(classes)}
    return Layout(tuple(classes), paths, [label[path[-2]] for path in paths])
