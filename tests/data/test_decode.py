"""Decoding one file, and the square."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_cuda.data import DecodeError, decode, read_square, square
from alexnet_cuda.data import image as image_module


def _png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("PPM", {}),
        ("WEBP", {"lossless": True}),
    ],
)
def test_lossless_formats_are_exact(kind, options, picture, encode):
    out = decode(encode(Image.fromarray(picture), kind, **options))
    assert out.dtype == np.uint8
    assert out.flags.c_contiguous
    np.testing.assert_array_equal(out, picture)


def test_jpeg_is_close(picture, encode):
    out = decode(encode(Image.fromarray(picture), "JPEG", quality=95, subsampling=0))
    assert out.shape == picture.shape
    assert np.abs(out.astype(int) - picture).max() <= 8


def test_grey_and_bilevel_get_three_equal_channels(picture, encode):
    grey = picture[..., 0]
    for kind in ("PNG", "JPEG"):
        out = decode(encode(Image.fromarray(grey), kind, **({"quality": 100} if kind == "JPEG" else {})))
        assert np.ptp(out, axis=2).max() == 0
        assert np.abs(out[..., 0].astype(int) - grey).max() <= (2 if kind == "JPEG" else 0)
    bilevel = decode(encode(Image.fromarray(grey > 100)))
    np.testing.assert_array_equal(bilevel, np.repeat((grey > 100)[..., None] * np.uint8(255), 3, axis=2))


def test_cmyk_jpeg(encode):
    out = decode(encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=100))
    assert np.abs(out.astype(int) - (255, 0, 0)).max() <= 3


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_palette(kind, encode):
    image = Image.new("P", (4, 3), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 2), 1)
    out = decode(encode(image, kind))
    assert tuple(out[0, 0]) == (10, 20, 30)
    assert tuple(out[2, 1]) == (200, 100, 50)


def test_transparent_pixels_lie_on_white(encode):
    image = Image.new("P", (4, 3), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 2), 1)
    out = decode(encode(image, "PNG", transparency=0))
    assert tuple(out[0, 0]) == (255, 255, 255)
    assert tuple(out[2, 1]) == (200, 100, 50)

    keyed = decode(encode(Image.new("RGB", (2, 2), (1, 2, 3)), "PNG", transparency=(1, 2, 3)))
    assert (keyed == 255).all()

    alpha = np.zeros((1, 3, 4), np.uint8)
    alpha[0] = [(100, 0, 50, 255), (100, 0, 50, 102), (100, 0, 50, 0)]
    out = decode(encode(Image.fromarray(alpha))).astype(float)
    expected = alpha[..., :3] * (alpha[..., 3:] / 255.0) + 255.0 * (1 - alpha[..., 3:] / 255.0)
    assert np.abs(out - expected).max() <= 1.0
    assert tuple(out[0, 0]) == (100, 0, 50)

    grey_alpha = decode(encode(Image.new("LA", (2, 2), (7, 0))))
    assert (grey_alpha == 255).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled(kind, encode):
    values = np.array([[0, 257, 128 * 257, 65535, 65535 - 100]], np.uint16)
    out = decode(encode(Image.fromarray(values), kind))
    np.testing.assert_array_equal(out[0, :, 0], [0, 1, 128, 255, 255])
    assert np.ptp(out, axis=2).max() == 0


def test_pixels_without_white_level_are_refused(encode):
    with pytest.raises(DecodeError, match="floating point"):
        decode(encode(Image.fromarray(np.ones((3, 3), np.float32)), "TIFF"), "f.tif")
    with pytest.raises(DecodeError, match="leave the range"):
        decode(encode(Image.fromarray(np.full((3, 3), 70000, np.int32)), "TIFF"), "i.tif")


def test_first_frame_of_an_animation(encode):
    frames = [Image.new("RGB", (3, 3), colour) for colour in ("red", "blue")]
    assert (decode(encode(frames[0], "GIF", save_all=True, append_images=frames[1:])) == (255, 0, 0)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation, picture, encode):
    # How a camera stores the upright picture under each orientation (EXIF 2.3, tag 0x0112).
    stored = {
        1: picture,
        2: picture[:, ::-1],
        3: picture[::-1, ::-1],
        4: picture[::-1],
        5: picture.transpose(1, 0, 2),
        6: np.rot90(picture, 1),
        7: picture.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(picture, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind in ("PNG", "TIFF"):
        out = decode(encode(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif))
        np.testing.assert_array_equal(out, picture)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("exif", [b"MM\x00\x2a\xff\xff\xff\xff\x00\x09", b"no EXIF at all"])
def test_damaged_exif_is_passed_over(exif, picture, encode):
    for kind in ("JPEG", "PNG"):
        assert decode(encode(Image.fromarray(picture), kind, exif=b"Exif\x00\x00" + exif)).shape == picture.shape


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(50_000, 50_000), (10_000, 9_000), (2**31 - 1, 2**31 - 1)])
def test_huge_images_are_refused_by_their_header(size):
    with pytest.raises(DecodeError, match=r"^huge\.png cannot be decoded: it has .* pixels"):
        decode(_png_header(*size), "huge.png")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"hello, world", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    ],
)
def test_what_is_no_image(data, reason):
    with pytest.raises(DecodeError, match=reason) as caught:
        decode(data, "x.jpg")
    assert caught.value.name == "x.jpg"
    assert "x.jpg" not in caught.value.reason
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"])
def test_damage_is_a_decode_error_whatever_pillow_raises(kind, picture, encode):
    data = encode(Image.fromarray(picture), kind)
    with pytest.raises(DecodeError):
        decode(data[: len(data) // 2])
    rng = np.random.default_rng(5)
    failed = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(120):
            damaged = bytearray(data)
            for place in rng.integers(0, len(data), 3):
                damaged[place] = rng.integers(0, 256)
            try:
                assert decode(bytes(damaged)).ndim == 3
            except DecodeError:
                failed += 1
    assert failed > 0


def test_paths(tmp_path: Path, picture, encode, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(encode(Image.fromarray(picture)))
    np.testing.assert_array_equal(decode(path), picture)
    np.testing.assert_array_equal(read_square(str(path), 9), square(picture, 9))
    with pytest.raises(FileNotFoundError):
        decode(tmp_path / "none.png")
    with pytest.raises(IsADirectoryError):
        decode(tmp_path)
    monkeypatch.setattr(image_module, "MAX_FILE_BYTES", 20)
    with pytest.raises(DecodeError, match="MiB"):
        decode(path)


def test_at_least_shrinks_large_jpegs_only(encode):
    y, x = np.mgrid[0:600, 0:800]
    image = Image.fromarray(np.stack([x / 4, y / 3, (x + y) / 6], axis=-1).astype(np.uint8))
    jpeg = encode(image, "JPEG", quality=95)
    assert decode(jpeg, at_least=100).shape == (300, 400, 3)
    assert decode(jpeg, at_least=400).shape == (600, 800, 3)
    assert decode(encode(image), at_least=64).shape == (600, 800, 3)
    whole, quick = square(decode(jpeg), 64), read_square(jpeg, 64)
    assert np.abs(whole.astype(int) - quick).max() <= 3


def test_square_is_the_centre_of_the_shorter_side():
    wide = np.zeros((8, 20, 3), np.uint8)
    wide[:, 6:14] = 200
    np.testing.assert_array_equal(square(wide, 8), np.full((8, 8, 3), 200))
    np.testing.assert_array_equal(square(wide.transpose(1, 0, 2).copy(), 8), np.full((8, 8, 3), 200))
    ramp = np.repeat(np.arange(0, 210, 10, dtype=np.uint8)[None, :, None], 12, axis=0).repeat(3, axis=2)
    shrunk = square(ramp, 4)  # 21 wide, 12 high: columns 4.5 to 16.5, three to a pixel
    assert np.abs(shrunk[0, :, 0].astype(float) - [55, 85, 115, 145]).max() <= 1
    assert square(np.zeros((1, 5000, 3), np.uint8), 4).shape == (4, 4, 3)


def test_square_filters_when_it_shrinks(picture):
    checker = np.indices((64, 64)).sum(axis=0) % 2 * np.uint8(255)
    shrunk = square(np.repeat(checker[..., None], 3, axis=2).astype(np.uint8), 8)
    assert np.abs(shrunk.astype(float) - 127.5).max() < 12
    same = square(picture[:17], 17)
    np.testing.assert_array_equal(same, picture[:17])


@pytest.mark.parametrize(
    ("image", "side", "error"),
    [
        (np.zeros((4, 4, 3), np.float32), 4, TypeError),
        (np.zeros((4, 4), np.uint8), 4, ValueError),
        (np.zeros((4, 4, 4), np.uint8), 4, ValueError),
        (np.zeros((0, 4, 3), np.uint8), 4, ValueError),
        (np.zeros((4, 4, 3), np.uint8), 0, ValueError),
    ],
)
def test_square_refuses(image, side, error):
    with pytest.raises(error):
        square(image, side)


def test_read_square_refuses_a_side_of_nothing(picture, encode):
    with pytest.raises(ValueError, match="side"):
        read_square(io.BytesIO(encode(Image.fromarray(picture))).getvalue(), 0)
