"""Archives: the same as the folder, and everything an archive may do wrong."""

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

import numpy as np
import pytest
from PIL import Image
from tests.failing import failing

from alexnet_cuda.data import DecodeError, archive, decompress, open_source


@pytest.fixture
def png(encode):
    return encode(Image.new("RGB", (5, 4), (1, 2, 3)))


@pytest.fixture
def small(make_tar, png):
    return make_tar(("a/1.png", png), ("b/2.png", png))


def _pack(root, path, mode, arcname, **options):
    with tarfile.open(path, mode, **options) as tar:
        tar.add(root, arcname)
    return path


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_archive_equals_folder(mode, form, tmp_path, tree, assert_same):
    for arcname in (".", "set"):
        packed = open_source(_pack(tree, tmp_path / "a.archive", mode, arcname, format=form))
        assert_same(packed, open_source(tree))


def test_names_longer_than_a_header_and_names_given_twice(make_tar, png, encode):
    names = [f"{c * 120}/{'n' * 120}.png" for c in "ab"]
    later = encode(Image.new("RGB", (9, 9)))
    source = open_source(make_tar(*((name, png) for name in names), (names[0], later)))
    assert list(source.names) == names
    assert [source.read(i).shape for i in (0, 1)] == [(9, 9, 3), (4, 5, 3)]


def test_reading_from_threads(make_tar, encode):
    members = [(f"{i % 2}/{i:03}.png", encode(Image.new("RGB", (3, 3), (i, 0, 0)))) for i in range(100)]
    source = open_source(make_tar(*members))
    with ThreadPoolExecutor(4) as pool:
        values = list(pool.map(lambda i: int(source.read(i)[0, 0, 0]), range(100)))
    assert [f"{value % 2}/{value:03}.png" for value in values] == list(source.names)


def test_nothing_stays_open_or_on_disk(tmp_path, tree, monkeypatch):
    def open_files():
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    packed = _pack(tree, tmp_path / "a.tgz", "w:gz", ".")
    before = open_files()
    source = open_source(packed)
    assert not os.listdir(tmp_path / "temporary")
    assert open_files() == before + 1
    part = source.subset([0])
    del source
    gc.collect()
    assert part.read(0).shape == (5, 6, 3)
    del part
    assert open_files() == before


def _special(name, kind, target=""):
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
def test_members_that_are_refused(member, message, make_tar, png, tmp_path):
    path = make_tar(("a/1.png", png), ("b/1.png", png), member)
    with pytest.raises(ValueError, match=message) as caught:
        open_source(path)
    assert str(path) in str(caught.value)
    assert list(tmp_path.iterdir()) == [path]


def test_files_that_are_no_archive(tmp_path, png):
    for data in (b"", png, gzip.compress(png), b"x" * 2000):
        (tmp_path / "a.tar").write_bytes(data)
        with pytest.raises(ValueError, match=r"a\.tar is neither a folder of class folders nor a tar archive"):
            open_source(tmp_path / "a.tar")


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
    path = make_tar(("a/1.png", png + np.random.default_rng(0).bytes(9000)), ("b/1.png", png), mode=mode)
    data = path.read_bytes()
    for damaged in (data[: len(data) // 2], data[:-9], data[:4000] + bytes(200) + data[4200:]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="damaged or cut short"):
            open_source(path)


def test_damage_does_not_end_an_archive_silently(small):
    negative = tarfile.TarInfo("b/1.png")
    negative.size = -1536
    whole = small.read_bytes()
    for damaged in (
        b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + b"\xff" * 90,
        whole[:1024] + negative.tobuf(tarfile.GNU_FORMAT) + bytes(1024),
        whole[:1024] + bytes(byte ^ 0x55 for byte in whole[1024:1064]) + whole[1064:],
    ):
        small.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"a\.tar is .*damaged"):
            open_source(small)


def test_a_bomb_and_a_copy_without_room_are_stopped(make_tar, png, monkeypatch):
    class Full:
        def write(self, data):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match=r"no room in .* for x\.tgz decompressed: set TMPDIR"):
        decompress._copy(io.BytesIO(png), Full(), 1 << 30, "x.tgz")
    monkeypatch.setattr(decompress, "FREE_BYTES", 1 << 20)
    assert len(open_source(make_tar(("a/1.png", png), ("b/1.png", bytes(100_000)), mode="w:gz"))) == 2
    with pytest.raises(ValueError, match="expands to more than"):
        open_source(make_tar(("a/1.png", png), ("b/1.png", bytes(20 << 20)), mode="w:gz"))


def test_a_member_too_large_or_not_an_image_is_a_decode_error(make_tar, png, monkeypatch):
    source = open_source(make_tar(("a/1.png", png), ("b/2.png", b"no image")))
    with pytest.raises(DecodeError, match=r"b/2\.png cannot be decoded: it is not an image"):
        source.read(1)
    monkeypatch.setattr(archive, "MAX_FILE_BYTES", 10)
    with pytest.raises(DecodeError, match=r"a/1\.png cannot be decoded: the file has more than"):
        source.read(0)


def _joined(root, path, between=b""):
    """Archives of the three classes, one behind the other."""
    zebra, ant, mole = (_pack(root / part, path, "w", part).read_bytes() for part in ("zebra", "ant", "mole"))
    return zebra + ant + between + mole, len(zebra)


def _gzip_members(data):
    third = len(data) // 3
    return b"".join(gzip.compress(data[start : start + third]) for start in range(0, len(data), third))


@pytest.mark.parametrize("pack", [bytes, gzip.compress, _gzip_members, bz2.compress, lzma.compress])
@pytest.mark.parametrize("between", [0, 512, 2 << 20])
def test_archives_one_behind_the_other_are_read_to_the_last(pack, between, tmp_path, tree, assert_same):
    path = tmp_path / "a.tar"
    path.write_bytes(pack(_joined(tree, path, bytes(between))[0]))
    joined, folder = open_source(path), open_source(tree)
    assert_same(joined, folder)
    assert joined.names == folder.names
    assert not any("after the end" in sentence for sentence in joined.ignored)


def test_what_is_no_archive_behind_one_is_named_and_a_damaged_one_is_an_error(tmp_path, tree):
    path = tmp_path / "a.tar"
    whole, second = _joined(tree, path)
    for junk in (b"junk" * 1000, b"junk"):
        path.write_bytes(whole + junk)
        source = open_source(path)
        assert len(source) == 12
        assert f"after the end of the archive: {len(junk):,} bytes that are no archive" in source.ignored
    damaged = bytearray(whole)
    damaged[second] ^= 0x55  # the name in the first header of the second archive
    for data in (bytes(damaged), whole[: second + 300], whole[: second + 700], whole[: second + 1400]):
        path.write_bytes(data)
        with pytest.raises(ValueError, match="cut short"):
            open_source(path)


@pytest.mark.parametrize("good_reads", [0, 1, 2])
def test_an_archive_that_the_system_cannot_read_is_not_called_damaged(good_reads, small):
    lost, reads = OSError(errno.EIO, "Input/output error"), iter(range(9))
    with (
        failing(tarfile.TarInfo, "fromtarfile", lost, lambda _: next(reads) == good_reads),
        pytest.raises(OSError, match=r"a\.tar cannot be read: Input/output error") as caught,
    ):
        open_source(small)
    assert caught.value.errno == errno.EIO


def test_a_compressed_archive_that_the_system_cannot_read_is_not_called_damaged(small):
    class Failing(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > 0:
                raise OSError(errno.ESTALE, "Stale file handle")
            return super().read(min(size, 20))

    stream = Failing(gzip.compress(small.read_bytes()))
    with gzip.GzipFile(fileobj=stream) as plain, pytest.raises(OSError, match=r"Stale .*x\.tgz") as caught:
        decompress._copy(plain, io.BytesIO(), 1 << 30, "x.tgz")
    assert caught.value.errno == errno.ESTALE


def test_an_image_of_an_archive_that_shrinks_or_that_the_system_cannot_read(small):
    source = open_source(small)
    os.truncate(small, 600)
    with pytest.raises(OSError, match=r"become shorter, b/2\.png begins after its end.*a\.tar") as caught:
        source.read(1)
    assert caught.value.errno is not None
    lost = OSError(errno.EIO, "Input/output error")
    with failing(os, "pread", lost), pytest.raises(OSError, match=r"Input/output error: .*a\.tar"):
        source.read(1)
