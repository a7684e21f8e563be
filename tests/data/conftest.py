"""Images and sources that the data tests make for themselves."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Encode = Callable[..., bytes]
MakeTree = Callable[[Path], Path]
MakeTar = Callable[..., Path]


def _encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture(name="encode")
def encode_fixture() -> Encode:
    """Pillow image to the bytes of a file."""
    return _encode


@pytest.fixture
def picture() -> np.ndarray:
    """A smooth coloured picture, higher than wide, no two corners alike."""
    y, x = np.mgrid[0:24, 0:17]
    return np.stack([40 + 8 * y, 30 + 11 * x, 220 - 5 * y - 4 * x], axis=-1).astype(np.uint8)


@pytest.fixture
def make_tree() -> MakeTree:
    """Fill a folder with three classes of four small PNGs, and with files that do not count."""

    def make(root: Path) -> Path:
        for label, name in enumerate(("zebra", "ant", "mole")):
            (root / name).mkdir(parents=True)
            for i in range(4):
                image = Image.new("RGB", (6 + i, 5), (80 * label, 50 * i, 200))
                (root / name / f"{i}.png").write_bytes(_encode(image))
            (root / name / "._0.png").write_bytes(b"resource fork")
            (root / name / "notes.txt").write_text("not an image")
        (root / "empty").mkdir()
        (root / ".hidden").mkdir()
        (root / ".hidden" / "0.png").write_bytes(_encode(Image.new("RGB", (4, 4))))
        return root

    return make


@pytest.fixture
def make_tar(tmp_path: Path) -> MakeTar:
    """Write an archive of (name, contents) members; a TarInfo in place of the name is taken as it is."""

    def make(*members: tuple[str | tarfile.TarInfo, bytes], mode: str = "w", name: str = "a.tar") -> Path:
        path = tmp_path / name
        with tarfile.open(path, mode) as archive:
            for member, data in members:
                info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
                if not isinstance(member, tarfile.TarInfo):
                    info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        return path

    return make
