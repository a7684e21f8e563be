"""Decoding one file, and the square."""

import errno
import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps
from tests.failing import failing

from alexnet_cuda.data import DecodeError, decode, read_square, square
from alexnet_cuda.data import image as image_module

PNG = b"\x89PNG\r\n\x1a\n"


def chunk(kind, data):
    """A chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width, height, bits, pixels=b""):
    header = struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)
    return PNG + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


@pytest.fixture
def palette():
    """Colour (10, 20, 30), but for one pixel of (200, 100, 50)."""
    image = Image.new("P", (4, 3), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 2), 1)
    return image


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_lossless_formats_are_exact(kind, picture, encode):
    out = decode(encode(picture, kind, **({"lossless": True} if kind == "WEBP" else {})))
    assert out.dtype == np.uint8
    assert out.flags.c_contiguous
    np.testing.assert_array_equal(out, picture)


def test_jpegs_are_close(picture, encode):
    for image, expected, most in (
        (picture, picture, 8),
        (picture[..., 0], picture[..., :1].repeat(3, axis=2), 2),
        (Image.new("CMYK", (16, 16), (0, 255, 255, 0)), np.full((16, 16, 3), (255, 0, 0)), 3),
    ):
        out = decode(encode(image, "JPEG", quality=100, subsampling=0))
        assert out.shape == expected.shape
        assert np.abs(out.astype(int) - expected).max() <= most


def test_grey_and_bilevel_get_three_equal_channels(picture, encode):
    grey, bilevel = picture[..., 0], picture[..., 0] > 100
    for image, expected in ((grey, grey), (bilevel, bilevel * np.uint8(255))):
        np.testing.assert_array_equal(decode(encode(image)), np.stack([expected] * 3, axis=2))


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_palette(kind, palette, encode):
    out = decode(encode(palette, kind))
    assert tuple(out[0, 0]) == (10, 20, 30)
    assert tuple(out[2, 1]) == (200, 100, 50)


def test_transparent_pixels_lie_on_white(palette, encode):
    out = decode(encode(palette, "PNG", transparency=0))
    assert tuple(out[0, 0]) == (255, 255, 255)
    assert tuple(out[2, 1]) == (200, 100, 50)
    keyed, grey = Image.new("RGB", (2, 2), (1, 2, 3)), Image.new("LA", (2, 2), (7, 0))
    assert (decode(encode(keyed, transparency=(1, 2, 3))) == 255).all()
    assert (decode(encode(grey)) == 255).all()
    alpha = np.array([[(100, 0, 50, 255), (100, 0, 50, 102), (100, 0, 50, 0)]], np.uint8)
    share = alpha[..., 3:] / 255.0
    out = decode(encode(alpha))
    assert np.abs(out - (alpha[..., :3] * share + 255.0 * (1 - share))).max() <= 1.0
    assert tuple(out[0, 0]) == (100, 0, 50)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled(kind, encode):
    values = np.array([[0, 257, 128 * 257, 65535, 65535 - 100]], np.uint16)
    out = decode(encode(values, kind))
    np.testing.assert_array_equal(out[0, :, 0], [0, 1, 128, 255, 255])
    assert np.ptp(out, axis=2).max() == 0


def test_pixels_without_white_level_are_refused(encode):
    for value, reason in ((np.float32(1), "floating point"), (np.int32(70000), "leave the range")):
        with pytest.raises(DecodeError, match=reason):
            decode(encode(np.full((3, 3), value), "TIFF"), "x.tif")


TWELVE = np.array([[0, 1, 2047, 4095]], np.uint16)


@pytest.mark.parametrize(
    ("values", "bits", "expected"),
    [
        (TWELVE, 12, [0, 0, 127, 255]),  # as measured
        (TWELVE * 16, 12, [0, 0, 127, 255]),  # scaled, as the specification wants
        (TWELVE // 16 * 16, 12, [0, 0, 8, 16]),  # scaled, and dark
        (np.array([[0, 513, 1023]], np.uint16), 10, [0, 128, 255]),
        (np.array([[0, 32768, 65535]], np.uint16), 16, [0, 128, 255]),
        (np.array([[0, 32768, 65535]], np.uint16), 0, [0, 128, 255]),
    ],
)
def test_a_png_says_how_many_of_its_16_bits_count(values, bits, expected, encode, caplog):
    out = decode(_with_chunks(encode(values), chunk(b"sBIT", bytes([bits]))))
    np.testing.assert_array_equal(out[0, :, 0], expected)
    assert not caplog.messages


@pytest.mark.parametrize(
    ("values", "kind"),
    [(TWELVE, "PNG"), (TWELVE, "TIFF"), (TWELVE.astype(np.int32), "TIFF"), ("RGB", "PNG")],
)
@pytest.mark.filterwarnings("error")
def test_16_bit_values_that_come_out_black_are_warned_of_in_one_line(values, kind, encode, caplog):
    if isinstance(values, str):
        data = _png(2, 1, 16, b"\0" + TWELVE[0, [1, 2, 3, 3, 3, 3]].astype(">u2").tobytes())
    else:
        data = encode(values, kind)
    for name in ("ct/1", "ct/2"):
        assert decode(data, name).max() <= 16
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("ct/1 comes out nearly black: its 16-bit values reach only ")


def test_pictures_that_are_dark_by_right_are_not_warned_of(encode, caplog):
    for image in (np.zeros((2, 2), np.uint16), np.full((2, 2), 40000, np.uint16), np.full((2, 2, 3), 1, np.uint8)):
        decode(encode(image))
    assert not caplog.messages


def test_first_frame_of_an_animation(encode):
    frames = [Image.new("RGB", (3, 3), colour) for colour in ("red", "blue")]
    assert (decode(encode(frames[0], "GIF", save_all=True, append_images=frames[1:])) == (255, 0, 0)).all()


def _exif(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


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
    for kind in ("PNG", "TIFF"):
        out = decode(encode(np.ascontiguousarray(stored), kind, exif=_exif(orientation)))
        np.testing.assert_array_equal(out, picture)


def _raw_profile(data):
    """ImageMagick's way to put EXIF into a PNG, before PNG had a chunk for it."""
    return b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n%8d\n" % len(data) + data.hex().encode() + b"\n")


def _with_chunks(png, *chunks, after=False):
    place = png.index(b"IEND") - 4 if after else 33
    return png[:place] + b"".join(chunks) + png[place:]


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description %s</x:xmpmeta>'
XMPS = (XMP % b'tiff:Orientation="6"/>', XMP % b"><tiff:Orientation>6</tiff:Orientation></rdf:Description>")
LARGE = zlib.compress(bytes(5 << 20))
UPRIGHT = _exif(1).tobytes()[6:]


@pytest.mark.parametrize("xmp", XMPS)
@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "TIFF", "text", "text after the pixels", "profile", "profile after"])
def test_orientation_from_wherever_pillow_takes_it(kind, xmp, picture, encode):
    image = Image.fromarray(picture)
    text = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
    profile = chunk(b"zTXt", _raw_profile(_exif(6).tobytes()))
    data = {
        "JPEG": lambda: encode(image, "JPEG", xmp=xmp),
        "WEBP": lambda: encode(image, "WEBP", xmp=xmp, lossless=True),
        "TIFF": lambda: encode(image, "TIFF", tiffinfo={700: xmp}),
        "text": lambda: _with_chunks(encode(image), text),
        "text after the pixels": lambda: _with_chunks(encode(image), text, after=True),
        "profile": lambda: _with_chunks(encode(image), profile, chunk(b"iCCP", b"large\0\0" + LARGE)),
        "profile after": lambda: _with_chunks(encode(image), profile, after=True),
    }[kind]()
    out = decode(data)
    assert out.shape == (17, 24, 3)
    if kind == "profile":  # which Pillow by itself refuses, for the other profile
        np.testing.assert_array_equal(out, np.rot90(picture, -1))
    else:
        with Image.open(io.BytesIO(data)) as opened:
            np.testing.assert_array_equal(out, np.asarray(ImageOps.exif_transpose(opened)))


def _side_data(picture, palette, encode):
    """Files whose pixels are whole and whose other data are damaged or large; for most Pillow warns or fails."""
    image, palette = Image.fromarray(picture), palette.resize((17, 24))
    png = encode(image)
    files = {
        "large text": _with_chunks(png, chunk(b"zTXt", b"Comment\0\0" + LARGE)),
        "large text after the pixels": _with_chunks(png, chunk(b"zTXt", b"Comment\0\0" + LARGE), after=True),
        "large international text": _with_chunks(png, chunk(b"iTXt", b"Comment\0\1\0\0\0" + LARGE)),
        "large XMP": _with_chunks(png, chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + LARGE)),
        "large profile": _with_chunks(png, chunk(b"iCCP", b"large\0\0" + LARGE)),
        "unknown profile": _with_chunks(png, chunk(b"iCCP", b"odd\0\7" + LARGE)),
        "text with a wrong sum": _with_chunks(png, chunk(b"tEXt", b"Comment\0hello")[:-4] + bytes(4)),
        "EXIF with a wrong sum": _with_chunks(png, chunk(b"eXIf", UPRIGHT)[:-4] + bytes(4)),
        "short gamma": _with_chunks(png, chunk(b"gAMA", b"\0")),
        "animation of nothing": _with_chunks(png, chunk(b"acTL", bytes(8))),
        "palette with alphas": encode(palette, transparency=bytes([0, 128])),
        "palette with one alpha": encode(palette, "GIF", transparency=1),
    }
    for name, exif in {
        "nonsense": b"no EXIF at all",
        "no directory": b"MM\x00\x2a\xff\xff\xff\xff\x00\x09",
        "cut": UPRIGHT[:-7],
        "tag behind the end": b"MM\0\x2a\0\0\0\x08\0\1\x01\x0e\0\2\0\0\x10\0\0\0\x20\0\0\0\0\0",
    }.items():
        for kind in ("JPEG", "PNG", "WEBP"):
            files[f"EXIF in {kind}: {name}"] = encode(image, kind, exif=b"Exif\0\0" + exif)
    return files


@pytest.mark.filterwarnings("error")
def test_side_data_say_nothing_and_keep_nothing_from_being_decoded(picture, palette, encode):
    before = list(warnings.filters)
    for name, data in _side_data(picture, palette, encode).items():
        assert decode(data, name).shape == (24, 17, 3), name
    assert list(warnings.filters) == before


def test_what_the_system_refuses_while_decoding_is_not_called_broken(encode, picture):
    refused = OSError(errno.EMFILE, "Too many open files")  # as Pillow meets it when it loads a decoder
    with failing(Image, "open", refused), pytest.raises(OSError, match="Too many open files"):
        decode(encode(picture))


def test_warnings_of_others_come_through_while_images_are_decoded(encode, picture, monkeypatch):
    def warn(*_, **__):
        warnings.warn("of another", UserWarning, stacklevel=1)  # noqa: TID251 - as Pillow does

    monkeypatch.setattr(ImageOps, "exif_transpose", warn)
    with pytest.warns(UserWarning, match="of another"):
        decode(encode(picture))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"hello, world", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        # Huge by their headers.
        (_png(50_000, 50_000, 8), r"it has .* pixels"),
        (_png(10_000, 9_000, 8), r"it has .* pixels"),
        (_png(2**31 - 1, 2**31 - 1, 8), r"it has .* pixels"),
    ],
)
def test_what_is_no_image_or_too_large(data, reason):
    with pytest.raises(DecodeError, match=rf"^x\.jpg cannot be decoded: .*{reason}") as caught:
        decode(data, "x.jpg")
    assert caught.value.name == "x.jpg"
    assert "x.jpg" not in caught.value.reason
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"])
def test_damage_is_a_decode_error_whatever_pillow_raises(kind, picture, encode):
    data = encode(picture, kind)
    with pytest.raises(DecodeError):
        decode(data[: len(data) // 2])
    rng = np.random.default_rng(5)
    failed = 0
    for _ in range(120):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), 3):
            damaged[place] = rng.integers(0, 256)
        try:
            assert decode(bytes(damaged)).ndim == 3
        except DecodeError:
            failed += 1
    assert failed > 0


def test_paths(tmp_path, picture, encode, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(encode(picture))
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


def test_square_is_the_centre_of_the_shorter_side_and_filters_when_it_shrinks(picture):
    wide = np.zeros((8, 20, 3), np.uint8)
    wide[:, 6:14] = 200
    for image in (wide, wide.transpose(1, 0, 2).copy()):
        np.testing.assert_array_equal(square(image, 8), np.full((8, 8, 3), 200))
    ramp = np.repeat(np.arange(0, 210, 10, dtype=np.uint8)[None, :, None], 12, axis=0).repeat(3, axis=2)
    shrunk = square(ramp, 4)  # 21 wide, 12 high: columns 4.5 to 16.5, three to a pixel
    assert np.abs(shrunk[0, :, 0].astype(float) - [55, 85, 115, 145]).max() <= 1
    checker = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    assert np.abs(square(checker, 8).astype(float) - 127.5).max() < 12
    np.testing.assert_array_equal(square(picture[:17], 17), picture[:17])
    assert square(np.zeros((1, 5000, 3), np.uint8), 4).shape == (4, 4, 3)


def test_squares_that_cannot_be(picture, encode):
    with pytest.raises(TypeError):
        square(np.zeros((4, 4, 3), np.float32), 4)
    for shape, side in (((4, 4), 4), ((4, 4, 4), 4), ((0, 4, 3), 4), ((4, 4, 3), 0)):
        with pytest.raises(ValueError, match="must"):
            square(np.zeros(shape, np.uint8), side)
    with pytest.raises(ValueError, match="side"):
        read_square(encode(picture), 0)
