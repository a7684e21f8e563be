"""Classes of images that lie in no class folders: from lists, and from the files beside them in archives."""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..base.files import naming
from .base import printable
from .image import IMAGE_SUFFIXES
from .store import STORE_NAME, read_index

#: What ILSVRC's development kit has, in its folder ``data``.
_META, _TRUTH = "meta.mat", "ILSVRC2012_validation_ground_truth.txt"
_VALIDATION = "ILSVRC2012_val_{:08}"
_JSON_KEYS = ("cls", "label", "class")
_Components = tuple[str, ...]


def stem(name: str) -> str:
    """A file's name without its folders and an image's ending."""
    start, ending = os.path.splitext(name.rpartition("/")[2])
    return start if ending.lower() in IMAGE_SUFFIXES else start + ending


def key(path: _Components) -> _Components:
    """What files of one sample share in WebDataset's archives: all before the first dot of the file's own name."""
    return (*path[:-1], path[-1].partition(".")[0])


def read_names(path: str | os.PathLike[str]) -> list[str]:
    """Class names in the order of their numbers: the first word of each line of a text file, or those of a store.

    Raises
    ------
    ValueError
        A name is given twice, or there is none.
    OSError
        It cannot be read.
    """
    if os.path.exists(os.path.join(path, STORE_NAME)):
        return list(read_index(Path(path))["classes"])
    names = [words[0] for _, words in _lines(path)]
    if twice := sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []:
        raise ValueError(f"{printable(os.fspath(path))} has the class {twice[0]} twice")
    return names


def read_labels(path: str | os.PathLike[str], names: Sequence[str] | None) -> dict[str, str]:
    """The class of each image by `stem`.

    Parameters
    ----------
    path : path
        ILSVRC's development kit, as folder or archive, or a text file of lines ``FILE CLASS``; for ILSVRC's validation
        images also of lines ``CLASS``, names and not numbers, in the order of the images.
    names : sequence of str, optional
        The classes that numbers in the list mean, from 0.

    Raises
    ------
    ValueError
        It is none of that, contradicts itself, or it cannot be told what its numbers mean.
    ImportError
        The kit needs SciPy.
    OSError
        It cannot be read.
    """
    name = printable(os.fspath(path))
    if stat.S_ISDIR(os.stat(path).st_mode) or tarfile.is_tarfile(path):
        if names is not None:
            raise ValueError(f"{name} has class names of its own, so there is no use for --classes")
        return _of_kit(path, name)
    lines = list(_lines(path))
    columns = {len(words) for _, words in lines}
    if columns == {1}:
        if all(_is_number(words[0]) for _, words in lines):
            raise ValueError(
                f"{name} has numbers alone, and whether they are ILSVRC's IDs (of its development kit) or places in a "
                f"sorted list they do not tell: give the development kit (the archive or folder with {_META} and "
                f"{_TRUTH}), or lines 'FILE CLASS'"
            )
        files = [_VALIDATION.format(number) for number, _ in lines]
    elif columns == {2}:
        files = [stem(words[0]) for _, words in lines]
    else:
        raise ValueError(f"{name} has lines of {sorted(columns)} words, expected 'FILE CLASS' in every line")
    classes = with_names([words[-1] for _, words in lines], names, name)
    found: dict[str, str] = {}
    for file, its_class in zip(files, classes, strict=True):
        if found.setdefault(file, its_class) != its_class:
            raise ValueError(f"{name} has {printable(file)} in two classes, {found[file]} and {its_class}")
    return found


def with_names(classes: Sequence[str], names: Sequence[str] | None, source: str) -> Sequence[str]:
    """The class names that the numbers of a list mean; where it has names itself, those.

    Raises
    ------
    ValueError
        They are no numbers, there are no names to them, or they seem not to count from 0.
    """
    numbers = all(_is_number(text) for text in classes)
    if names is None:
        if numbers:
            raise ValueError(
                f"{source} has numbers for classes: give --classes with a list of the names, in their order"
            )
        return classes
    if not numbers:
        raise ValueError(f"{source} has class names and no numbers ({classes[0]}), so there is no use for --classes")
    values = [int(text) for text in classes]
    if min(values) != 0 or max(values) >= len(names):
        raise ValueError(
            f"{source} has classes {min(values)} to {max(values)}, expected numbers from 0 to {len(names) - 1}, and 0 "
            "among them: a list that counts from 1 may be in the order of ILSVRC's IDs, for which its development kit "
            "is to be given"
        )
    return [names[value] for value in values]


def _is_number(text: str) -> bool:
    return text.isascii() and text.removeprefix("-").isdigit()


def classes_beside(
    beside: Mapping[_Components, bytes], names: Sequence[str] | None, source: str, images: Sequence[_Components]
) -> Sequence[str]:
    """The class of each image by the .cls or .json file of the same `key`, .cls first.

    Raises
    ------
    ValueError
        An image has none, or it holds no text, or no JSON object with one class; and as `with_names`.
    """
    classes = []
    for path in images:
        name = f"{source}: {printable('/'.join(path))}"
        own, last = key(path)[:-1], key(path)[-1]
        if (text := beside.get((*own, f"{last}.cls"))) is not None:
            classes.append(text.decode("utf-8", "replace").strip())
        elif (text := beside.get((*own, f"{last}.json"))) is not None:
            classes.append(_of_json(text, f"{name}: the .json file beside it"))
        else:
            raise ValueError(f"{name} has no .cls or .json file beside it that would say its class")
        if not classes[-1]:
            raise ValueError(f"{name}: the .cls file beside it is empty")
    return classes if names is None else with_names(classes, names, source)


def listed(classes: Mapping[str, str], list_name: str, images: Sequence[_Components]) -> Sequence[str]:
    """The class of each image by its `stem`.

    Raises
    ------
    ValueError
        The list lacks one.
    """
    missing = [path for path in images if stem(path[-1]) not in classes]
    if missing:
        name = printable("/".join(missing[0]))
        raise ValueError(f"{list_name} lacks {len(missing):,} of {len(images):,} images, the first is {name}")
    return [classes[stem(path[-1])] for path in images]


def _of_json(text: bytes, name: str) -> str:
    try:
        value: Any = json.loads(text)
        found = {str(value[key]) for key in _JSON_KEYS if isinstance(value.get(key), (int, str))}
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{name} is no JSON object ({error})") from error
    if len(found) != 1:
        raise ValueError(f"{name} has {len(found)} classes, expected one, under {' or '.join(_JSON_KEYS)}")
    return found.pop()


def _of_kit(path: str | os.PathLike[str], name: str) -> dict[str, str]:
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise ImportError(f"{name}: SciPy is missing to read {_META}, pip install 'alexnet-cuda[demo]'") from error
    found = {name.rpartition("/")[2]: data for name, data in _kit_files(path)}
    if len(found) != 2:
        raise ValueError(f"{name} is no development kit of ILSVRC 2012, which has {_META} and {_TRUTH}")
    try:
        synsets = loadmat(io.BytesIO(found[_META]), squeeze_me=True)["synsets"]
        wnids = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in synsets if not row["num_children"]}
        truth = [wnids[int(line)] for line in found[_TRUTH].split()]
    except Exception as error:  # SciPy raises nearly any type on damaged contents
        raise ValueError(f"{name}: {_META} or {_TRUTH} is damaged ({type(error).__name__}: {error})") from error
    return {_VALIDATION.format(number): wnid for number, wnid in enumerate(truth, 1)}


def _kit_files(path: str | os.PathLike[str]) -> Iterable[tuple[str, bytes]]:
    if os.path.isdir(path):
        for folder in (Path(path), Path(path) / "data", *Path(path).glob("*/data")):
            for name in (_META, _TRUTH):
                if (folder / name).is_file():
                    yield name, (folder / name).read_bytes()
        return
    with tarfile.open(path) as archive:
        for member in archive:
            if member.name.rpartition("/")[2] in (_META, _TRUTH) and (file := archive.extractfile(member)):
                yield member.name, file.read()


def _lines(path: str | os.PathLike[str]) -> Iterable[tuple[int, list[str]]]:
    with naming(path):
        try:
            text = Path(path).read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValueError(f"{printable(os.fspath(path))} is no text file ({error})") from error
    lines = [line.split() for line in text.splitlines()]
    if not any(lines):
        raise ValueError(f"{printable(os.fspath(path))} is empty")
    return [(number, words) for number, words in enumerate(lines, 1) if words]
