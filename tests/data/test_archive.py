"""Archives: the same as the folder, and everything an archive may do wrong."""

from __future__ import annotations

import bz2
import errno
import gc
import gzip
import io
import lzma
import os
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_cuda.data import DecodeError, archive, decompress, open_source


@pytest.fixture
def png(encode) -> bytes:
    return encode(Image.new("RGB", (5, 4), (1, 2, 3)))


def _pack(root: Path, path: Path, mode: str, arcname: str, **options) -> Path:
    with tarfile.open(path, mode, **options) as tar:
        tar.add(root, arcname)
    return path


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize(
    ("suffix", "mode"),
    [
        (".tar", "w"),
        (".tar.gz", "w:gz"),
        (".tgz", "w:gz"),
        (".tar.bz2", "w:bz2"),
        (".tar.xz", "w:xz"),
    ],
)
def test_archive_equals_folder(suffix, mode, form, tmp_path: Path, make_tree):
    root = make_tree(tmp_path / "set")
    folder = open_source(root)
    for arcname in (".", "set"):
        packed = open_source(_pack(root, tmp_path / f"a{suffix}", mode, arcname, format=form))
        assert packed.classes == folder.classes
        np.testing.assert_array_equal(packed.labels, folder.labels)
        assert [name.split("/")[-2:] for name in packed.names] == [name.split("/") for name in folder.names]
        for i in range(len(folder)):
            np.testing.assert_array_equal(packed.read(i), folder.read(i))


def test_names_longer_than_a_header(make_tar, png):
    names = [f"{c * 120}/{'n' * 120}.png" for c in "ab"]
    source = open_source(make_tar(*((name, png) for name in names)))
    assert list(source.names) == names
    assert source.read(1).shape == (4, 5, 3)


def test_the_later_of_two_members_of_one_name_counts(make_tar, png, encode):
    later = encode(Image.new("RGB", (9, 9)))
    source = open_source(make_tar(("a/1.png", png), ("b/1.png", png), ("a/1.png", later)))
    assert len(source) == 2
    assert source.read(0).shape == (9, 9, 3)


def test_reading_from_threads(make_tar, encode):
    members = [(f"{i % 2}/{i:03}.png", encode(Image.new("RGB", (3, 3), (i, 0, 0)))) for i in range(100)]
    source = open_source(make_tar(*members))
    with ThreadPoolExecutor(4) as pool:
        values = list(pool.map(lambda i: int(source.read(i)[0, 0, 0]), range(100)))
    assert [f"{value % 2}/{value:03}.png" for value in values] == list(source.names)


def test_nothing_stays_open_or_on_disk(tmp_path: Path, make_tree, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    packed = _pack(make_tree(tmp_path / "set"), tmp_path / "a.tgz", "w:gz", ".")
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    source = open_source(packed)
    assert not os.listdir(tmp_path / "temporary")
    assert len(os.listdir("/proc/self/fd")) == before + 1
    part = source.subset([0])
    del source
    gc.collect()
    assert part.read(0).shape == (5, 6, 3)
    del part
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


def _special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (("/etc/a.png", b""), r"absolute path \(/etc/a\.png\)"),
        (("a/../../b.png", b""), r"parent path \(a/\.\./\.\./b\.png\)"),
        (("../notes.txt", b""), "parent path"),
        (_special("a/out.png", tarfile.SYMTYPE, "/etc/passwd"), r"link \(a/out\.png to /etc/passwd\)"),
        (_special("a/out.png", tarfile.LNKTYPE, "../../x"), r"link \(a/out\.png to \.\./\.\./x\)"),
        (_special("a/in.png", tarfile.SYMTYPE, "1.png"), "tar --dereference"),
        (_special("a/in.png", tarfile.LNKTYPE, "a/1.png"), "--hard-dereference"),
        (_special("a/disk", tarfile.BLKTYPE), "a device"),
        (_special("a/tty", tarfile.CHRTYPE), "a device"),
        (_special("a/pipe", tarfile.FIFOTYPE), "a device, a pipe"),
        (_special("a/holes.png", tarfile.GNUTYPE_SPARSE), "a sparse file"),
    ],
)
def test_members_that_are_refused(member, message, make_tar, png, tmp_path: Path):
    path = make_tar(("a/1.png", png), ("b/1.png", png), member)
    with pytest.raises(ValueError, match=message) as caught:
        open_source(path)
    assert str(path) in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tar"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "holds no images"),
        (("a/notes.txt", "b/notes.txt"), "holds no images"),
        (("a/1.png", "a/2.png"), "1 class"),
        (("1.png",), "no class folder"),
        (("train/a/1.png", "val/a/1.png"), "2 folders of class folders"),
    ],
)
def test_archives_that_are_no_source(names, message, make_tar, png):
    with pytest.raises(ValueError, match=message):
        open_source(make_tar(*((name, png) for name in names)))


def test_files_that_are_no_archive(tmp_path: Path, png):
    for name, data in (("a.tar", b""), ("b.tar", png), ("c.tar.gz", gzip.compress(png)), ("d.tar", b"x" * 2000)):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=rf"{name} is neither a folder of class folders nor a tar archive"):
            open_source(tmp_path / name)


def test_an_archive_cut_short_anywhere(make_tar, png):
    path = make_tar(*((f"{c}/{i}.png", png) for c in "ab" for i in range(2)))
    data = path.read_bytes()
    end = len(data.rstrip(b"\0"))
    for length in (*range(100, end, 97), *range(512, end, 512)):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"a\.tar (is|ends)") as caught:
            open_source(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_compressed_archive_cut_short_or_damaged(mode, make_tar, png):
    rng = np.random.default_rng(0)
    path = make_tar(("a/1.png", png + rng.bytes(9000)), ("b/1.png", png), mode=mode)
    data = path.read_bytes()
    for length in (len(data) // 2, len(data) - 9):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match="damaged or cut short"):
            open_source(path)
    path.write_bytes(data[:4000] + bytes(200) + data[4200:])
    with pytest.raises(ValueError, match="damaged or cut short"):
        open_source(path)


def test_garbage_behind_a_gzip_header(tmp_path: Path):
    (tmp_path / "a.tgz").write_bytes(b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + b"\xff" * 90)
    with pytest.raises(ValueError, match=r"a\.tgz is damaged"):
        open_source(tmp_path / "a.tgz")


def test_a_member_of_negative_size_ends_the_scan(tmp_path: Path, make_tar, png):
    info = tarfile.TarInfo("b/1.png")
    info.size = -1536
    path = make_tar(("a/1.png", png))
    header = info.tobuf(tarfile.GNU_FORMAT)
    path.write_bytes(path.read_bytes()[:1024] + header + bytes(1024))
    with pytest.raises(ValueError, match="damaged"):
        open_source(path)


def test_a_damaged_header_does_not_end_the_archive_silently(make_tar, png):
    path = make_tar(*((f"{c}/{i}.png", png) for c in "ab" for i in range(4)))
    data = bytearray(path.read_bytes())
    for place in range(6 * 1024, 6 * 1024 + 40):
        data[place] ^= 0x55
    path.write_bytes(data)
    with pytest.raises(ValueError, match="damaged"):
        open_source(path)


def test_a_bomb_is_stopped(make_tar, png, monkeypatch, tmp_path: Path):
    monkeypatch.setattr(decompress, "FREE_BYTES", 1 << 20)
    path = make_tar(("a/1.png", png), ("b/1.png", bytes(20 << 20)), mode="w:gz")
    with pytest.raises(ValueError, match="expands to more than"):
        open_source(path)
    assert len(open_source(make_tar(("a/1.png", png), ("b/1.png", bytes(100_000)), mode="w:gz", name="b.tgz"))) == 2


def test_no_room_for_the_decompressed_copy(png):
    class Full:
        def write(self, data):
            raise OSError(28, "No space left on device")

    plain = io.BytesIO(png)
    with pytest.raises(OSError, match=r"no room in .* for x\.tgz decompressed: set TMPDIR"):
        decompress._copy(plain, Full(), 1 << 30, "x.tgz")


def test_a_member_too_large_or_not_an_image_is_a_decode_error(make_tar, png, monkeypatch):
    source = open_source(make_tar(("a/1.png", png), ("b/2.png", b"no image")))
    with pytest.raises(DecodeError, match=r"b/2\.png cannot be decoded: it is not an image"):
        source.read(1)
    monkeypatch.setattr(archive, "MAX_FILE_BYTES", 10)
    with pytest.raises(DecodeError, match=r"a/1\.png cannot be decoded: the file has more than"):
        source.read(0)


def test_an_archive_that_shrinks_while_it_is_read(make_tar, png):
    path = make_tar(("a/1.png", png), ("b/2.png", png))
    source = open_source(path)
    os.truncate(path, 600)
    with pytest.raises(OSError, match=r"become shorter, b/2\.png begins after its end.*a\.tar") as caught:
        source.read(1)
    assert caught.value.errno is not None


def _joined(root: Path, path: Path, between: bytes = b"") -> bytes:
    """Two archives one behind the other: the first two classes, the third."""
    parts = [_pack(root / part, path, "w", part).read_bytes() for part in ("zebra", "ant", "mole")]
    return parts[0] + parts[1] + between + parts[2]


def _gzip_members(data: bytes) -> bytes:
    third = len(data) // 3
    return b"".join(gzip.compress(data[start : start + third]) for start in range(0, len(data), third))


@pytest.mark.parametrize("pack", [bytes, gzip.compress, _gzip_members, bz2.compress, lzma.compress])
@pytest.mark.parametrize("between", [0, 512, 2 << 20])
def test_archives_one_behind_the_other_are_read_to_the_last(pack, between, tmp_path: Path, make_tree):
    root, path = make_tree(tmp_path / "set"), tmp_path / "a.tar"
    path.write_bytes(pack(_joined(root, path, bytes(between))))
    joined, folder = open_source(path), open_source(root)
    assert (joined.classes, list(joined.names)) == (folder.classes, list(folder.names))
    for i in range(len(folder)):
        np.testing.assert_array_equal(joined.read(i), folder.read(i))
    assert not any("behind the end" in sentence for sentence in joined.ignored)


def test_what_is_no_archive_behind_one_is_named_and_a_damaged_one_is_an_error(tmp_path: Path, make_tree):
    root, path = make_tree(tmp_path / "set"), tmp_path / "a.tar"
    whole = _joined(root, path)
    for junk in (b"junk" * 1000, b"junk"):
        path.write_bytes(whole + junk)
        source = open_source(path)
        assert len(source) == 12
        assert f"after the end of the archive: {len(junk):,} bytes that are no archive" in source.ignored
    second = len(_pack(root / "zebra", path, "w", "zebra").read_bytes())
    damaged = bytearray(whole)
    damaged[second] ^= 0x55  # the name in the first header of the second archive
    for data in (bytes(damaged), whole[: second + 300], whole[: second + 700], whole[: second + 1400]):
        path.write_bytes(data)
        with pytest.raises(ValueError, match="cut short"):
            open_source(path)


@pytest.mark.parametrize("good_reads", [0, 1, 2])
def test_an_archive_that_the_system_cannot_read_is_not_called_damaged(good_reads, make_tar, png, monkeypatch):
    original, reads = tarfile.TarInfo.fromtarfile, iter(range(9))

    def fail(of):
        if next(reads) == good_reads:
            raise OSError(errno.EIO, "Input/output error")
        return original(of)

    monkeypatch.setattr(tarfile.TarInfo, "fromtarfile", fail)
    with pytest.raises(OSError, match=r"a\.tar cannot be read: Input/output error") as caught:
        open_source(make_tar(("a/1.png", png), ("b/2.png", png)))
    assert caught.value.errno == errno.EIO


def test_a_compressed_archive_that_the_system_cannot_read_is_not_called_damaged(tmp_path: Path, make_tar, png):
    class Failing(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > 0:
                raise OSError(errno.ESTALE, "Stale file handle")
            return super().read(min(size, 20))

    data = make_tar(("a/1.png", png), ("b/2.png", png), mode="w:gz").read_bytes()
    with gzip.GzipFile(fileobj=Failing(data)) as plain, pytest.raises(OSError, match=r"Stale .*x\.tgz") as caught:
        decompress._copy(plain, io.BytesIO(), 1 << 30, "x.tgz")
    assert caught.value.errno == errno.ESTALE


def test_an_image_of_an_archive_that_the_system_cannot_read(make_tar, png, monkeypatch):
    source = open_source(make_tar(("a/1.png", png), ("b/2.png", png)))

    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(OSError, match=r"Input/output error: .*a\.tar"):
        source.read(1)
