"""Opening a source of images by what the user wrote."""

from __future__ import annotations

import os
import stat
from functools import partial

from . import archive, parquet
from .base import ImageSource, printable
from .digits import DigitsSource
from .folder import FolderSource
from .labels import listed, read_labels, read_names
from .layout import alone
from .store import STORE_NAME, StoreSource


def open_source(
    spec: str | os.PathLike[str],
    *,
    minimum_classes: int = 2,
    labels: str | os.PathLike[str] | None = None,
    classes: str | os.PathLike[str] | None = None,
) -> ImageSource:
    """Open a source of labelled images.

    The class of an image is the folder that holds it. Classes are sorted by name (by code point), which is the order
    of the labels; images are sorted by class and file name, so a folder and an archive of it are the same source, also
    where one has its names in decomposed Unicode letters, as from macOS. Hidden files, what systems leave behind
    (``__MACOSX``, ``@eaDir``, ``lost+found``, ...), files without an image's ending, the pictures of a training run and
    folders without images do not count; `ImageSource.ignored` names them.

    Parameters
    ----------
    spec : str or path
        ``"digits"`` (scikit-learn's handwritten digits; a folder of that name is ``"./digits"``), a folder of class
        folders, or a tar archive of one, plain or compressed by gzip, bzip2 or xz. One folder around all class folders
        is allowed. Also a store that `prepare` made; an archive or a folder of archives, one for each class; archives
        with a .cls or .json file of the class beside each image (WebDataset); and Parquet files with the images'
        bytes, or a folder of them (slow but in their own order). ``docs/data.md`` says more.
    minimum_classes : int
        Fewer are an error.
    labels : path, optional
        What says the classes of images wherever they lie, as `labels.read_labels` takes it.
    classes : path, optional
        Names for the numbers in `labels`, or in .cls and .json files, as `labels.read_names` takes them.

    Returns
    -------
    ImageSource

    Raises
    ------
    FileNotFoundError
        There is no such file or folder.
    ValueError
        It holds no images, too few classes, is not laid out as class folders, or is a damaged or dangerous archive.
    ImportError
        scikit-learn is missing for the digits, pyarrow for Parquet files, or SciPy for the development kit.
    OSError
        It cannot be read.
    """
    if spec == "digits":
        if labels is not None or classes is not None:
            raise ValueError("digits has its classes, so there is no use for --labels and --classes")
        return DigitsSource()
    names = None if classes is None else read_names(classes)
    given = None if labels is None else partial(listed, read_labels(labels, names), printable(os.fspath(labels)))
    name = printable(os.fspath(spec))
    try:
        kind = stat.S_IFMT(os.stat(spec).st_mode)
        is_folder = kind == stat.S_IFDIR
        if (kind == stat.S_IFREG and not name.endswith(parquet.ENDING)) or (is_folder and alone(spec, archive.ENDING)):
            return archive.ArchiveSource(spec, minimum_classes, given, names)
        if names is not None and given is None:
            raise ValueError(f"{name} has its classes by name, so there is no use for --classes")
        is_store = is_folder and os.path.exists(os.path.join(spec, STORE_NAME))
        if is_folder and not is_store and not alone(spec, parquet.ENDING):
            return FolderSource(spec, minimum_classes, given)
        if kind in (stat.S_IFREG, stat.S_IFDIR):
            if given is not None:
                raise ValueError(f"{name} has its labels, so there is no use for --labels")
            return StoreSource(spec, minimum_classes) if is_store else parquet.ParquetSource(spec, minimum_classes)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not os.path.lexists(spec):
            wanted = "expected 'digits', a folder of class folders, a tar archive of one, or a store"
            raise FileNotFoundError(f"{name} does not exist, {wanted}") from error
        place = "" if error.filename is None or error.filename == spec else f" ({error.filename})"
        raise OSError(error.errno, f"{name} cannot be read: {error.strerror}{place}") from error
    raise ValueError(f"{name} is neither a folder of class folders nor a tar archive of one")
