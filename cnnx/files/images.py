"""Picture files as a network's input. Needs Pillow, the extra `image`.

A file is not trusted: its content, not its name, decides what it is, and only the formats of a closed list are read,
those that Pillow reads itself, without a program beside it. Of a file with several pictures, such as an animation, the
first is taken.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from cnnx._typing import Array, Shape
from cnnx.checks.files import open_regular

# Pillow's names of the formats, and the endings that their files have.
FORMATS = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "JPEG2000": (".jp2", ".j2k", ".jpx"),
    "AVIF": (".avif",),
}
ENDINGS = frozenset(ending for endings in FORMATS.values() for ending in endings)
NAMES = "PNG, JPEG, WebP, TIFF, GIF, BMP, PPM, JPEG 2000 or AVIF"
WHITE = 255
# Pillow's own limit, from which on it warns.
MOST_PIXELS = 2**30 // 12
# The EXIF tag, and what brings a picture with each of its values upright.
ORIENTATION = 0x0112
TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
TURNED = (5, 6, 7, 8)  # rows become columns
GREY_MODES = ("1", "L", "LA", "La", "I", "F")


class PictureHead(NamedTuple):
    """What the beginning of a file says of its picture, once it is upright."""

    height: int
    width: int
    grey: bool


def read_head(path: str | os.PathLike[str]) -> PictureHead:
    """Read the size of a picture, and whether it is grey, without its pixels; errors as from `read_pixels`."""
    with _opened(path) as image:
        width, height = image.size
        if _orientation(image) in TURNED:
            width, height = height, width
        return PictureHead(height, width, image.mode.partition(";")[0] in GREY_MODES)


def read_pixels(path: str | os.PathLike[str], shape: Shape) -> tuple[Array, bool]:
    """Read a picture for a network, as bytes.

    Parameters
    ----------
    path : str or path-like
        A file in one of `FORMATS`. Of 16 bits a channel the upper 8 are taken.
    shape : tuple of int
        (height, width, channels) with 1 channel, for grey, or 3, for red, green and blue.

    Returns
    -------
    pixels : ndarray of shape `shape`
        uint8, from 0 (black) to 255; a transparent picture is laid on white.
    resized : bool
        Whether the file had another size.

    Raises
    ------
    ImportError
        Without Pillow.
    ValueError
        If `shape` is not that of such an image, or the file is not an intact image.
    OSError
        If the file cannot be read.
    """
    check_picture_shape(shape)
    height, width, channels = shape
    with _opened(path) as image:
        whole = image.size
        if image.format == "JPEG":
            # Its decoder halves a large picture much faster than it reads it whole.
            image.draft(None, (2 * max(height, width),) * 2)
        halved = image.size != whole
        pixels = _convert(_upright(image), "L" if channels == 1 else "RGB")
        resized = halved or pixels.size != (width, height)
        if resized:
            from PIL import Image

            pixels = pixels.resize((width, height), Image.Resampling.BILINEAR)
    return np.array(pixels, np.uint8).reshape(shape), resized


def check_picture_shape(shape: Shape) -> None:
    """Whether pictures can be brought to it."""
    if len(shape) != 3 or shape[2] not in (1, 3):
        raise ValueError(f"expected a model for images with 1 or 3 channels, got one for examples of shape {shape}")


def read_image(path: str | os.PathLike[str], shape: Shape) -> tuple[Array, bool]:
    """Read a picture for a network, as `read_pixels` does, with pixels of float32 from 0 (black) to 1."""
    pixels, resized = read_pixels(path, shape)
    return np.divide(pixels, np.float32(WHITE), dtype=np.float32), resized


@contextmanager
def pillow_is_quiet() -> Iterator[None]:
    """Inside, Pillow speaks by its errors alone: it warns of odd EXIF data and much else that is no matter of pixels.

    For the main thread: what Python warns of is the whole process's.
    """
    log = logging.getLogger("PIL")
    level = log.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        log.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            log.setLevel(level)


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Any]:
    """A picture whose head was read; inside, and before, whatever Pillow raises is a ValueError that names the file."""
    try:
        from PIL import Image
    except ImportError:
        raise ImportError("reading images needs Pillow: python -m pip install 'cnnx[image]'") from None
    Image.init()  # or it does not know all formats
    formats = [name for name in FORMATS if name in Image.OPEN]
    with open_regular(path) as file:
        try:
            with Image.open(file, formats=formats) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise ValueError(f"expected at most {MOST_PIXELS} pixels, got {image.width} x {image.height}")
                yield image
        except Exception as error:  # Pillow's readers raise many kinds
            if type(error).__name__ == "UnidentifiedImageError":
                error = ValueError(f"expected {NAMES} by its content")
            raise ValueError(f"{os.fspath(path)}: not an intact image: {error or type(error).__name__}") from None


def _orientation(image: Any) -> int | None:
    """What its EXIF data say of it; no other tag is looked at, for many cameras write what cannot be read."""
    try:
        orientation = image.getexif().get(ORIENTATION)
    except Exception:
        return None
    return orientation if isinstance(orientation, int) else None


def _upright(image: Any) -> Any:
    from PIL import Image

    turn = TURNS.get(_orientation(image) or 0)
    return image if turn is None else image.transpose(Image.Transpose[turn])


def _convert(image: Any, mode: str) -> Any:
    """Eight bits a channel, on white; Pillow's own conversion of 16-bit grey would clip it instead of scaling it."""
    from PIL import Image

    if image.mode == "F":
        raise ValueError("expected pixels of 8 or 16 bits, got fractions, whose white is not known")
    if image.mode.startswith("I"):
        values, transparent = np.asarray(image, np.int64), image.info.get("transparency")
        if values.min() < 0 or values.max() > 0xFFFF:
            raise ValueError(f"expected pixels of 8 or 16 bits, got values from {values.min()} to {values.max()}")
        image = Image.fromarray(np.where(values == transparent, WHITE, values >> 8).astype(np.uint8))
    if "transparency" in image.info or image.mode.upper().endswith("A"):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)
