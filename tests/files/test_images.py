import io
import os
import struct
import zlib

import numpy as np
import pytest

pytest.importorskip("PIL")

from PIL import Image, PngImagePlugin

from cnnx.files.images import ENDINGS, pillow_is_quiet, read_head, read_pixels
from cnnx.images import read_image


@pytest.fixture
def picture(rng):
    return rng.integers(0, 256, (8, 12, 3), dtype=np.uint8)


def exif(orientation, tag, kind, raw, count=1):
    """Orientation and one more tag, as cameras and editors write them."""
    entries = [(0x0112, 3, 1, struct.pack("<H", orientation).ljust(4, b"\0"))]
    behind = 8 + 2 + 24 + 4
    entries.append((tag, kind, count, raw.ljust(4, b"\0") if len(raw) <= 4 else struct.pack("<I", behind)))
    packed = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in sorted(entries))
    start = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2)
    return start + packed + struct.pack("<I", 0) + (raw if len(raw) > 4 else b"")


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of damaged data
@pytest.mark.parametrize(
    "odd",
    [
        (0x0103, 8, struct.pack("<h", -1)),
        (0x0128, 2, b"abc\0", 4),
        (0x011A, 5, struct.pack("<II", 0, 0)),
        (0x0131, 2, b"\xff\xfe\xfd\0", 4),
        (0x8769, 4, b"\xff\xff\xff\xff"),
        (0x9286, 7, b"x", 2**31),
    ],
)
def test_a_picture_is_turned_whatever_else_its_exif_data_say(tmp_path, picture, odd):
    Image.fromarray(picture).save(tmp_path / "a.png", exif=exif(6, *odd))
    pixels, resized = read_image(tmp_path / "a.png", (12, 8, 3))
    np.testing.assert_array_equal(pixels, np.rot90(picture, -1).astype(np.float32) / np.float32(255))
    assert not resized


@pytest.mark.parametrize("orientation", range(10))
def test_every_orientation_is_that_of_pillow(tmp_path, picture, orientation):
    from PIL import ImageOps

    data = Image.Exif()
    data[0x0112] = orientation
    Image.fromarray(picture).save(tmp_path / "a.png", exif=data)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "a.png")))
    pixels, _ = read_image(tmp_path / "a.png", expected.shape)
    np.testing.assert_array_equal(pixels, expected.astype(np.float32) / np.float32(255))


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_transparent_lies_on_white(tmp_path, channels):
    ink = np.zeros((4, 4, 4), np.uint8)
    ink[1, 1:3, 3] = 255
    ink[2, 2, 3] = 51
    Image.fromarray(ink).save(tmp_path / "a.png")
    expected = np.ones((4, 4, channels), np.float32)
    expected[1, 1:3], expected[2, 2] = 0, 0.8
    np.testing.assert_allclose(read_image(tmp_path / "a.png", expected.shape)[0], expected, atol=1e-6)
    grey = Image.fromarray(ink).convert("LA")
    grey.save(tmp_path / "b.png")
    np.testing.assert_allclose(read_image(tmp_path / "b.png", expected.shape)[0], expected, atol=1e-6)
    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 0, 0, 255, 0, 0])
    palette.putdata([0, 1])
    palette.save(tmp_path / "c.png", transparency=0)
    np.testing.assert_allclose(read_image(tmp_path / "c.png", (1, 2, 3))[0], [[[1, 1, 1], [1, 0, 0]]])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_grey_that_stands_for_transparency_is_white(tmp_path, dtype):
    values = np.array([[0, 100], [200, 255]], dtype) << (8 * np.dtype(dtype).itemsize - 8)
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    before, start, after = file.getvalue().partition(b"\0\0\0\rIHDR")
    # By hand, for older Pillows read it but do not write it: a chunk of 2 bytes behind the header.
    chunk = b"tRNS" + struct.pack(">H", values[0, 1])
    chunk = struct.pack(">I", 2) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "a.png").write_bytes(before + start + after[:17] + chunk + after[17:])
    pixels, _ = read_image(tmp_path / "a.png", (2, 2, 1))
    np.testing.assert_array_equal(pixels[..., 0] * 255, [[0, 255], [200, 255]])


def damaged():
    file = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(file, "PNG")
    good = file.getvalue()
    text = PngImagePlugin.PngInfo()
    text.add_text("note", "x" * 3_000_000, zip=True)
    long = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(long, "PNG", pnginfo=text)
    yield from (b"", b"text", good[:20], good[:-36], good[:16] + b"\0" * 8 + good[24:])
    yield from (good[:16] + b"\x7f\xff\xff\xff" * 2 + good[24:], long.getvalue(), b"\xff\xd8\xff", b"GIF89a" + good)


@pytest.mark.parametrize("content", list(damaged()), ids=range(9))
def test_a_damaged_picture_is_named(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.png: not an intact image"):
        read_image(tmp_path / "a.png", (8, 8, 1))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe: expected a regular file, got a pipe"):
        read_image(tmp_path / "pipe", (8, 8, 1))


@pytest.mark.parametrize(
    ("ending", "options"),
    [
        ("png", {}),
        ("jpg", {"quality": 95, "subsampling": 0}),
        ("webp", {"lossless": True}),
        ("tif", {}),
        ("tiff", {"compression": "tiff_lzw"}),
        ("bmp", {}),
        ("ppm", {}),
        ("jp2", {}),
        ("avif", {"quality": 100}),
    ],
)
def test_the_formats_that_people_have_are_read(tmp_path, ending, options):
    rows, columns = np.mgrid[:16, :24]
    smooth = np.stack([rows * 8, columns * 5, rows + columns], axis=-1).astype(np.uint8)
    try:
        Image.fromarray(smooth).save(tmp_path / f"a.{ending}", **options)
    except (KeyError, OSError):
        pytest.skip("this Pillow writes no such files")
    pixels, resized = read_pixels(tmp_path / f"a.{ending}", (16, 24, 3))
    assert (pixels.dtype, resized) == (np.uint8, False)
    assert np.abs(pixels.astype(int) - smooth).max() <= (12 if ending in ("jpg", "avif") else 0)
    assert f".{ending}" in ENDINGS
    assert read_head(tmp_path / f"a.{ending}") == (16, 24, False)
    (tmp_path / "b.jpg").write_bytes((tmp_path / f"a.{ending}").read_bytes())
    np.testing.assert_array_equal(read_pixels(tmp_path / "b.jpg", (16, 24, 3))[0], pixels)


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
def test_of_sixteen_bits_the_upper_eight_are_taken(tmp_path, ending):
    values = np.array([[0, 255, 256], [0x1234, 0xFF00, 0xFFFF]], np.uint16)
    Image.fromarray(values).save(tmp_path / f"a.{ending}")
    pixels, _ = read_pixels(tmp_path / f"a.{ending}", (2, 3, 1))
    np.testing.assert_array_equal(pixels[..., 0], values >> 8)
    assert read_head(tmp_path / f"a.{ending}") == (2, 3, True)


@pytest.mark.parametrize("ending", ["gif", "webp", "png", "tif"])
def test_of_several_pictures_in_a_file_the_first_is_taken(tmp_path, ending):
    frames = [Image.fromarray(np.full((4, 4), grey, np.uint8)) for grey in (0, 128, 255)]
    frames[0].save(tmp_path / f"a.{ending}", save_all=True, append_images=frames[1:], lossless=True)
    assert (read_pixels(tmp_path / f"a.{ending}", (4, 4, 1))[0] == 0).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((2, 2), 0.5, np.float32), "8 or 16 bits, got fractions"),
        (np.full((2, 2), 70_000, np.int32), "8 or 16 bits, got values from 70000 to 70000"),
        (np.full((2, 2), -1, np.int32), "8 or 16 bits, got values from -1 to -1"),
    ],
)
def test_pixels_whose_white_is_not_known_are_refused(tmp_path, values, message):
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=rf"a\.tif: not an intact image: expected pixels of {message}"):
        read_pixels(tmp_path / "a.tif", (2, 2, 1))


@pytest.mark.parametrize("content", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n", b"%PDF-1.4\n", b"<svg/>"])
def test_a_format_that_another_program_would_have_to_read_is_refused(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.png: not an intact image: expected PNG, JPEG, .* by its content"):
        read_pixels(tmp_path / "a.png", (4, 4, 3))


def test_a_large_photo_is_read_smaller_and_looks_the_same(tmp_path):
    rows, columns = np.mgrid[:600, :800]
    smooth = np.stack([rows // 3, columns // 4, (rows + columns) // 6], axis=-1).astype(np.uint8)
    for name in ("a.jpg", "a.png"):
        Image.fromarray(smooth).save(tmp_path / name)
    (jpeg, resized), (png, _) = (read_pixels(tmp_path / name, (30, 40, 3)) for name in ("a.jpg", "a.png"))
    assert resized
    assert np.abs(jpeg.astype(int) - png).max() <= 3


def test_the_head_of_a_turned_picture_is_that_of_the_upright_one(tmp_path, picture):
    Image.fromarray(picture).save(tmp_path / "a.jpg", exif=exif(6, 0x0131, 2, b"abc\0", 4))
    assert read_head(tmp_path / "a.jpg") == (12, 8, False)
    (tmp_path / "nothing.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"nothing\.png: not an intact image"):
        read_head(tmp_path / "nothing.png")


def test_pillow_can_be_made_quiet(tmp_path, picture, capsys):
    import logging
    import warnings

    Image.fromarray(picture).save(tmp_path / "a.tif")
    content = bytearray((tmp_path / "a.tif").read_bytes())
    place = content.index(struct.pack("<HHI", 277, 3, 1)) + 8  # how many samples a pixel has
    content[place : place + 2] = b"\xff\x00"
    (tmp_path / "a.tif").write_bytes(content)
    level = logging.getLogger("PIL").level
    with pillow_is_quiet():
        warnings.warn("odd data", UserWarning, stacklevel=1)
        with pytest.raises(ValueError, match="not an intact image"):
            read_pixels(tmp_path / "a.tif", picture.shape)
    assert capsys.readouterr().err == ""
    assert logging.getLogger("PIL").level == level
