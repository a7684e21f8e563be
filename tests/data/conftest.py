"""Images and sources that the data tests make for themselves."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def encode():
    """Pillow image, or its array, to the bytes of a file."""

    def encode(image, kind="PNG", **options):
        stream = io.BytesIO()
        image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
        image.save(stream, kind, **options)
        return stream.getvalue()

    return encode


@pytest.fixture
def picture():
    """A smooth coloured picture, higher than wide, no two corners alike."""
    y, x = np.mgrid[0:24, 0:17]
    return np.stack([40 + 8 * y, 30 + 11 * x, 220 - 5 * y - 4 * x], axis=-1).astype(np.uint8)


@pytest.fixture
def tree(tmp_path):
    """A folder of three classes of four small PNGs, and of files that do not count."""
    root = tmp_path / "outer" / "set"
    for label, name in enumerate(("zebra", "ant", "mole")):
        (root / name).mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (6 + i, 5), (80 * label, 50 * i, 200)).save(root / name / f"{i}.png")
        (root / name / "._0.png").write_bytes(b"resource fork")
        (root / name / "notes.txt").write_text("not an image")
    (root / "empty").mkdir()
    (root / ".hidden").mkdir()
    Image.new("RGB", (4, 4)).save(root / ".hidden" / "0.png")
    return root


@pytest.fixture
def make_tar(tmp_path):
    """Write an archive of (name, contents) members; a TarInfo in place of the name is taken as it is."""

    def make(*members, mode="w", name="a.tar"):
        with tarfile.open(tmp_path / name, mode) as archive:
            for member, data in members:
                info = member
                if isinstance(member, str):
                    info = tarfile.TarInfo(member)
                    info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        return tmp_path / name

    return make


@pytest.fixture
def assert_same():
    """Compare two sources, of whose names the folders around the classes do not count."""

    def compare(one, other):
        assert one.classes == other.classes
        np.testing.assert_array_equal(one.labels, other.labels)
        assert [name.split("/")[-2:] for name in one.names] == [name.split("/")[-2:] for name in other.names]
        for i in range(len(other)):
            np.testing.assert_array_equal(one.read(i), other.read(i))

    return compare
