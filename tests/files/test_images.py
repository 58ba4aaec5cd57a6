import io
import os
import struct

import numpy as np
import pytest

pytest.importorskip("PIL")

from PIL import Image, PngImagePlugin

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
    Image.fromarray(values).save(tmp_path / "a.png", transparency=int(values[0, 1]))
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
