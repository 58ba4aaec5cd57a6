"""Pictures as rows, which is how scikit-learn knows examples, and rows as pictures again."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cnnx._typing import Array, Shape
from cnnx.checks.arguments import check_count


def as_rows(X: Any) -> tuple[Any, Shape | None]:
    """Pictures (examples, height, width, channels) or (examples, height, width) as rows, and the shape of one.

    Anything else comes back as it is, with None: it is for scikit-learn to check.
    """
    if not hasattr(X, "shape"):
        X = np.asarray(X)
    if len(X.shape) not in (3, 4):
        return X, None
    pictures = np.asarray(X)
    height, width, channels = (*pictures.shape[1:], 1)[:3]
    return pictures.reshape(len(pictures), height * width * channels), (height, width, channels)


def check_image_shape(image_shape: Any, owner: str) -> Shape | None:
    """(height, width) or (height, width, channels), as the latter; None stays."""
    if image_shape is None:
        return None
    if not isinstance(image_shape, tuple | list) or len(image_shape) not in (2, 3):
        raise ValueError(
            f"{owner}: image_shape: expected (height, width) or (height, width, channels), got {image_shape!r}"
        )
    height, width, channels = (*(check_count(n, f"{owner}: image_shape") for n in image_shape), 1)[:3]
    return height, width, channels


def example_shape(features: int, own: Shape | None, image_shape: Shape | None, owner: str) -> Shape:
    """The shape of an example to learn from: its own, that of rows that are pictures, or a row of a table.

    Parameters
    ----------
    features : int
        Values in an example.
    own : tuple of int or None
        Its shape, where examples came with one.
    image_shape : tuple of int or None
        As from `check_image_shape`.
    owner : str
        Beginning of messages.
    """
    if own is not None and image_shape is not None and own != image_shape:
        raise ValueError(f"{owner}: X: expected pictures of the image_shape {image_shape}, got pictures of shape {own}")
    shape = own or image_shape or (features,)
    if math.prod(shape) != features:
        raise ValueError(
            f"{owner}: X: expected rows of {math.prod(shape)} features, for image_shape is {shape}, got {features}"
        )
    return shape


def shaped(rows: Array, own: Shape | None, shape: Shape, owner: str) -> Array:
    """Rows as examples of the shape that a model was made for; pictures must have come with that shape."""
    if own is not None and len(shape) == 3 and own != shape:
        raise ValueError(f"{owner}: X: expected pictures of shape {shape}, as in fit, got pictures of shape {own}")
    return rows.reshape(len(rows), *shape)
