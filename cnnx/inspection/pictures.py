"""Numbers as pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cnnx._typing import Array, Shape
from cnnx.inspection.grad_cam import enlarge
from cnnx.layers.base import Layer, walk
from cnnx.layers.convolution import ConvolutionLayer


def is_picture(shape: Shape) -> bool:
    """Whether examples of a shape can be looked at: (height, width, channels)."""
    return len(shape) == 3


def span_of(X: Array, white: float | None) -> tuple[float, float]:
    """The values that are black and white: 0 and `white`; where that is not known, the ends of what occurs."""
    if white is not None:
        return 0.0, white
    finite = X[np.isfinite(X)] if X.dtype.kind == "f" else X
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)


def as_pictures(X: Array, span: tuple[float, float]) -> Array:
    """Examples as pictures of bytes.

    Parameters
    ----------
    X : ndarray of shape (examples, height, width, channels)
    span : (float, float)
        The values that are black and white, as `span_of` gives them.

    Returns
    -------
    ndarray of shape (examples, height, width, 3), or (examples, height, width) for grey
        Three channels are red, green and blue; of any other number but one, the mean is shown.
    """
    x = X.astype(np.float64)
    x = x if x.shape[3] == 3 else x.mean(axis=3)
    low, high = span
    scaled = (x - low) / (high - low) if high > low else x * 0
    pictures: Array = np.rint(255 * np.clip(scaled, 0, 1)).astype(np.uint8)
    return pictures


def first_convolution(layers: Sequence[Layer], where: str) -> ConvolutionLayer:
    """The first layer with filters that can be looked at."""
    for layer in walk(layers):
        if isinstance(layer, ConvolutionLayer):
            return layer
    raise ValueError(f"{where}: expected a model with a ConvolutionLayer, got one without")


def as_filters(layer: ConvolutionLayer) -> Array:
    """The filters of a convolution as pictures, (filters, height, width) or, of three channels, (..., 3).

    Grey in the middle is 0; each filter's largest weight, up or down, is white or black. Of other numbers of channels
    than one and three, their mean is shown.
    """
    W = layer.params["W"].astype(np.float64).transpose(3, 0, 1, 2)
    W = W if W.shape[3] == 3 else W.mean(axis=3)
    largest = np.abs(W).max(axis=tuple(range(1, W.ndim)), keepdims=True)
    scaled = np.divide(W, largest, out=W * 0, where=largest > 0)
    filters: Array = np.rint(127.5 + 127.5 * scaled).astype(np.uint8)
    return filters


# From nothing to most, darker to lighter, in colours that the colour-blind tell apart: matplotlib's "inferno".
HEAT = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)], np.float64)
# How much of the picture the colours cover, where there is nothing and where there is most; and the side, in pixels, up
# to which small pictures are enlarged for them.
LEAST_COVER, MOST_COVER, SIDE = 0.15, 0.8, 64


def overlay(pictures: Array, maps: Array) -> Array:
    """Pictures in grey, with colours over them where maps are high.

    Parameters
    ----------
    pictures : ndarray of shape (examples, height, width), or (..., 3)
        Bytes.
    maps : ndarray of shape (examples, rows, columns)
        From 0; each is scaled to its own maximum.

    Returns
    -------
    ndarray of shape (examples, times * height, times * width, 3)
        Bytes; small pictures are enlarged so that the colours are smooth.
    """
    grey = (pictures if pictures.ndim == 3 else pictures.mean(axis=3)).astype(np.float64)
    times = max(1, SIDE // max(grey.shape[1:]))
    grey = grey.repeat(times, axis=1).repeat(times, axis=2)
    maps = enlarge(maps.astype(np.float64), *grey.shape[1:])
    peak = maps.max(axis=(1, 2), keepdims=True)
    heat = np.divide(maps, peak, out=maps * 0, where=peak > 0)
    places = heat * (len(HEAT) - 1)
    colours = np.stack([np.interp(places, np.arange(len(HEAT)), HEAT[:, channel]) for channel in range(3)], axis=-1)
    cover = (LEAST_COVER + (MOST_COVER - LEAST_COVER) * heat)[..., np.newaxis]
    laid_over: Array = np.rint((1 - cover) * grey[..., np.newaxis] + cover * colours).astype(np.uint8)
    return laid_over
