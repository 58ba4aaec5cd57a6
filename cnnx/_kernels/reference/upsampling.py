"""Upsampling by whole factors, which follow from the shapes."""

from typing import Any

import numpy as np

from cnnx._typing import Array


def nearest_upsample_forward(x: Array, out: Array) -> None:
    """Each pixel is repeated along both axes."""
    rows, columns = out.shape[1] // x.shape[1], out.shape[2] // x.shape[2]
    out[...] = x.repeat(rows, axis=1).repeat(columns, axis=2)


def nearest_upsample_backward(grad: Array, out: Array) -> None:
    """The sum of the gradients of a pixel's copies."""
    N, H, W, C = out.shape
    grad.reshape(N, H, grad.shape[1] // H, W, grad.shape[2] // W, C).sum(axis=(2, 4), out=out)


def _between(size: int, output: int, dtype: np.dtype[Any]) -> tuple[Array, Array, Array]:
    """For each output along an axis: the two pixels that it lies between, and its way from one to the other."""
    at = np.maximum((np.arange(output) + 0.5) * (size / output) - 0.5, 0)
    first = at.astype(np.intp)
    return first, np.minimum(first + 1, size - 1), (at - first).astype(dtype)


def bilinear_upsample_forward(x: Array, out: Array) -> None:
    """Interpolated between pixel centres, along rows and then along columns."""
    upper, lower, down = _between(x.shape[1], out.shape[1], x.dtype)
    left, right, along = _between(x.shape[2], out.shape[2], x.dtype)
    down, along = down[:, np.newaxis, np.newaxis], along[:, np.newaxis]
    rows = x[:, upper] * (1 - down) + x[:, lower] * down
    out[...] = rows[:, :, left] * (1 - along) + rows[:, :, right] * along


def bilinear_upsample_backward(grad: Array, out: Array) -> None:
    """Each output's gradient goes to the four pixels it came from, with the weights that they had."""
    upper, lower, down = _between(out.shape[1], grad.shape[1], out.dtype)
    left, right, along = _between(out.shape[2], grad.shape[2], out.dtype)
    down, along = down[:, np.newaxis, np.newaxis], along[:, np.newaxis]
    out[...] = 0
    for h, row_weight in ((upper, 1 - down), (lower, down)):
        for w, column_weight in ((left, 1 - along), (right, along)):
            np.add.at(out, (slice(None), h[:, np.newaxis], w), grad * row_weight * column_weight)  # type: ignore[arg-type]
