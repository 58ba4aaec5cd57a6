"""Max and average pooling."""

import numpy as np

from cnnx._kernels.reference.windows import inside, padded, pixels_at, taps
from cnnx._typing import Array, Pair


def max_pool_forward(
    x: Array, filter_size: Pair, stride: Pair, padding: Pair, out: Array, argmax: Array | None
) -> None:
    """The largest pixel of each window, and its place in the window; the first of equals, NaN above all.

    Without an `argmax` the places are not kept.
    """
    canvas = padded(x, filter_size, stride, padding, out)
    pixels = padded(np.ones(x.shape, dtype=bool), filter_size, stride, padding, out)
    found = np.zeros(out.shape, dtype=bool)
    for place, tap in enumerate(taps(filter_size)):
        value = pixels_at(canvas, tap, stride, out)
        larger = ~found | (value > out) | (np.isnan(value) & ~np.isnan(out))
        wins = pixels_at(pixels, tap, stride, out) & larger
        np.copyto(out, value, where=wins)
        if argmax is not None:
            np.copyto(argmax, np.asarray(place, dtype=argmax.dtype), where=wins)
        found |= wins


def max_pool_backward(grad: Array, argmax: Array, filter_size: Pair, stride: Pair, padding: Pair, out: Array) -> None:
    """Each output gradient goes to the one pixel that won its window."""
    canvas = padded(np.zeros_like(out), filter_size, stride, padding, grad)
    for place, tap in enumerate(taps(filter_size)):
        pixels_at(canvas, tap, stride, grad)[...] += np.where(argmax == place, grad, 0)
    out[...] = inside(canvas, out, padding)


def _window_sizes(x: Array, filter_size: Pair, stride: Pair, padding: Pair, out: Array) -> Array:
    """How many pixels of the image each window covers."""
    pixels = padded(np.ones((1, *x.shape[1:3], 1), dtype=np.int64), filter_size, stride, padding, out)
    sizes: Array = sum(pixels_at(pixels, tap, stride, out) for tap in taps(filter_size))  # type: ignore[assignment]
    return sizes


def average_pool_forward(x: Array, filter_size: Pair, stride: Pair, padding: Pair, out: Array) -> None:
    """The mean of each window's pixels; padding is not counted."""
    canvas = padded(x, filter_size, stride, padding, out)
    total = np.zeros(out.shape)  # in double precision, for windows may have many pixels
    for tap in taps(filter_size):
        total += pixels_at(canvas, tap, stride, out)
    out[...] = total / _window_sizes(x, filter_size, stride, padding, out)


def average_pool_backward(grad: Array, filter_size: Pair, stride: Pair, padding: Pair, out: Array) -> None:
    """Each output gradient is shared equally by its window's pixels."""
    share = grad / _window_sizes(out, filter_size, stride, padding, grad)
    canvas = padded(np.zeros_like(out), filter_size, stride, padding, grad)
    for tap in taps(filter_size):
        pixels_at(canvas, tap, stride, grad)[...] += share
    out[...] = inside(canvas, out, padding)
