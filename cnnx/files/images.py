"""Image files as a network's input. Needs Pillow, the extra `image`."""

import os
from typing import Any

import numpy as np

from cnnx._typing import Array, Shape


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
        float32, from 0 (black) to 1.
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
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError:
        raise ImportError("reading images needs Pillow: python -m pip install 'cnnx[image]'") from None
    if len(shape) != 3 or shape[2] not in (1, 3):
        raise ValueError(f"expected a model for images with 1 or 3 channels, got one for examples of shape {shape}")
    height, width, channels = shape
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            pixels = _convert(ImageOps.exif_transpose(image), "L" if channels == 1 else "RGB")
    except FileNotFoundError:
        raise
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{os.fspath(path)}: not an intact image: {error}") from None
    resized = pixels.size != (width, height)
    if resized:
        pixels = pixels.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(pixels, np.float32).reshape(shape) / np.float32(255), resized


def _convert(image: Any, mode: str) -> Any:
    """Eight bits a channel; Pillow's own conversion of 16-bit grey would clip it instead of scaling it."""
    if image.mode.startswith("I"):
        from PIL import Image

        image = Image.fromarray((np.asarray(image, np.int64) >> 8).astype(np.uint8))
    return image.convert(mode)
