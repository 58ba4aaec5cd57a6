"""Image files as a network's input. Needs Pillow, the extra `image`."""

import os
from typing import Any

import numpy as np

from cnnx._typing import Array, Shape
from cnnx.checks.files import open_regular

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


def read_image(path: str | os.PathLike[str], shape: Shape) -> tuple[Array, bool]:
    """Read a PNG or JPEG file for a network.

    Parameters
    ----------
    path : str or path-like
    shape : tuple of int
        (height, width, channels) with 1 channel, for grey, or 3, for red, green and blue.

    Returns
    -------
    pixels : ndarray of shape `shape`
        float32, from 0 (black) to 1; a transparent picture is laid on white.
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
    try:
        from PIL import Image
    except ImportError:
        raise ImportError("reading images needs Pillow: python -m pip install 'cnnx[image]'") from None
    if len(shape) != 3 or shape[2] not in (1, 3):
        raise ValueError(f"expected a model for images with 1 or 3 channels, got one for examples of shape {shape}")
    height, width, channels = shape
    with open_regular(path) as file:
        try:
            with Image.open(file, formats=("PNG", "JPEG")) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise ValueError(f"expected at most {MOST_PIXELS} pixels, got {image.width} x {image.height}")
                pixels = _convert(_upright(image), "L" if channels == 1 else "RGB")
        except Exception as error:  # Pillow's readers raise many kinds
            raise ValueError(f"{os.fspath(path)}: not an intact image: {error}") from None
    resized = pixels.size != (width, height)
    if resized:
        pixels = pixels.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(pixels, np.float32).reshape(shape) / np.float32(255), resized


def _upright(image: Any) -> Any:
    """Turned as its EXIF data say; no other tag is looked at, for many cameras write what cannot be read."""
    from PIL import Image

    try:
        orientation = image.getexif().get(ORIENTATION)
    except Exception:
        return image
    turn = TURNS.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(Image.Transpose[turn])


def _convert(image: Any, mode: str) -> Any:
    """Eight bits a channel, on white; Pillow's own conversion of 16-bit grey would clip it instead of scaling it."""
    from PIL import Image

    if image.mode.startswith("I"):
        values, transparent = np.asarray(image, np.int64), image.info.get("transparency")
        image = Image.fromarray(np.where(values == transparent, 255, values >> 8).astype(np.uint8))
    if "transparency" in image.info or image.mode.upper().endswith("A"):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)
