"""Pictures as a network's input."""

import struct

import numpy as np
import pytest

from cnnx.files.images import read_image

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "picture.png"


INK = np.array([[0, 64], [128, 255]], np.uint8)  # how opaque the black strokes of a drawing are


def drawing(mode):
    """Black strokes on a transparent ground."""
    if mode == "P":
        image = Image.fromarray(np.arange(4, dtype=np.uint8).reshape(2, 2), "P")
        image.putpalette([0] * 12)
        return image, {"transparency": bytes(INK.ravel().tolist())}
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[..., 3] = INK
    return Image.fromarray(rgba).convert(mode), {}


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_transparent_lies_on_white(mode, channels, path):
    image, options = drawing(mode)
    image.save(path, **options)
    pixels, _ = read_image(path, (2, 2, channels))
    expected = np.repeat((255 - INK[..., None].astype(np.float32)) / 255, channels, axis=2)
    np.testing.assert_allclose(pixels, expected, atol=1.01 / 255)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_grey_that_stands_for_transparency_is_white(dtype, path):
    bits = 8 * np.dtype(dtype).itemsize
    values = np.array([[0, 100], [200, 255]], dtype) << (bits - 8)
    Image.fromarray(values).save(path, transparency=int(values[0, 1]))
    pixels, _ = read_image(path, (2, 2, 1))
    np.testing.assert_array_equal(pixels[..., 0] * 255, [[0, 255], [200, 255]])


def exif(*entries):
    """EXIF data with these entries of (tag, type, count, four bytes)."""
    rows = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3].ljust(4, b"\0") for entry in sorted(entries))
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + rows + struct.pack("<I", 0)


@pytest.mark.filterwarnings("ignore:Truncated File Read")  # Pillow warns of what it passes over
@pytest.mark.parametrize(
    "odd",
    [
        (0x0103, 8, 1, struct.pack("<h", -1)),  # a compression that is signed
        (0x0128, 2, 4, b"abc"),  # a unit that is text
        (0x011A, 5, 1, struct.pack("<I", 10**6)),  # a resolution that lies behind the end
        (0x9999, 99, 2**31, b"xyz"),  # an unknown type
    ],
)
def test_only_the_orientation_is_read_of_exif_data(odd, tmp_path):
    pixels = np.zeros((16, 32), np.uint8)
    pixels[:, :16] = 255
    path = tmp_path / "photo.jpg"
    turned_right = (0x0112, 3, 1, struct.pack("<H", 6))
    Image.fromarray(pixels).save(path, exif=exif(turned_right, odd), quality=100)
    read, resized = read_image(path, (32, 16, 1))
    assert not resized
    assert read[:15].min() > 0.9
    assert read[17:].max() < 0.1


def test_a_file_that_is_no_intact_picture_is_named_whatever_is_wrong_with_it(path, rng):
    from PIL.PngImagePlugin import PngInfo

    image = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    text = PngInfo()
    text.add_text("bomb", "x" * 2**21, zip=True)  # more than Pillow decompresses
    image.save(path, pnginfo=text)
    with pytest.raises(ValueError, match=r"picture\.png: not an intact image: .*[Tt]oo large"):
        read_image(path, (8, 8, 3))
    image.save(path)
    whole = path.read_bytes()
    for place in range(8, 60):  # the header, and what comes after it
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            read_image(path, (8, 8, 3))
        except ValueError as error:
            assert str(error).startswith(f"{path}: not an intact image: ")  # noqa: PT017
