"""Opening a source of images by what the user wrote."""

from __future__ import annotations

import os
import stat

from .archive import ArchiveSource
from .base import ImageSource, printable
from .digits import DigitsSource
from .folder import FolderSource


def open_source(spec: str | os.PathLike[str], *, minimum_classes: int = 2) -> ImageSource:
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
        is allowed.
    minimum_classes : int
        Fewer are an error.

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
        The digits were asked for and scikit-learn is missing.
    OSError
        It cannot be read.
    """
    if spec == "digits":
        return DigitsSource()
    name = printable(os.fspath(spec))
    try:
        kind = stat.S_IFMT(os.stat(spec).st_mode)
        if kind == stat.S_IFDIR:
            return FolderSource(spec, minimum_classes)
        if kind == stat.S_IFREG:
            return ArchiveSource(spec, minimum_classes)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not os.path.lexists(spec):
            wanted = "expected 'digits', a folder of class folders, or a tar archive of one"
            raise FileNotFoundError(f"{name} does not exist, {wanted}") from error
        place = "" if error.filename is None or error.filename == spec else f" ({error.filename})"
        raise OSError(error.errno, f"{name} cannot be read: {error.strerror}{place}") from error
    raise ValueError(f"{name} is neither a folder of class folders nor a tar archive of one")
