"""Moving, resampling and erasing the pixels of NHWC images."""

import numpy as np

from cnnx._typing import Array


def shift_images(x: Array, offsets: Array, flips: Array, fill: float, out: Array) -> None:
    """Each image mirrored where `flips` (batch, 2) says so, then moved down and right by `offsets` (batch, 2).

    Pixels that nothing moved to are `fill`.
    """
    height, width = x.shape[1:3]
    out[...] = fill
    for n in range(len(x)):
        flipped = np.flip(x[n], tuple(axis for axis in (0, 1) if flips[n, axis]))
        down, right = offsets[n]
        # out[h] = flipped[h - down], for the rows where both are inside the image; likewise for columns.
        h0, h1 = max(down, 0), min(height + down, height)
        w0, w1 = max(right, 0), min(width + right, width)
        if h0 < h1 and w0 < w1:
            out[n, h0:h1, w0:w1] = flipped[h0 - down : h1 - down, w0 - right : w1 - right]


def affine_images(x: Array, matrices: Array, fill: float, out: Array) -> None:
    """out[n, h, w] = x[n] at the row and column that matrices[n] (2, 3) gives for (h, w, 1), between four pixels.

    Pixels outside the image count as `fill`.
    """
    height, width = x.shape[1:3]
    h, w = np.indices((height, width))
    padded = np.pad(x, ((0, 0), (1, 2), (1, 2), (0, 0)), constant_values=fill)
    for n, matrix in enumerate(matrices):
        # A place farther out than one pixel has `fill` on all four sides, as it has at -1 or at the size.
        row = np.clip(matrix[0, 0] * h + matrix[0, 1] * w + matrix[0, 2], -1, height)
        column = np.clip(matrix[1, 0] * h + matrix[1, 1] * w + matrix[1, 2], -1, width)
        top, left = np.floor(row), np.floor(column)
        down = (row - top).astype(x.dtype)[..., np.newaxis]
        right = (column - left).astype(x.dtype)[..., np.newaxis]
        i, j = top.astype(np.intp) + 1, left.astype(np.intp) + 1
        image = padded[n]
        above = (1 - right) * image[i, j] + right * image[i, j + 1]
        below = (1 - right) * image[i + 1, j] + right * image[i + 1, j + 1]
        out[n] = (1 - down) * above + down * below


def erase_images(x: Array, boxes: Array, fill: float, out: Array) -> None:
    """Each image with the pixels of its box set to `fill`: boxes (batch, 4) of top, left, bottom, right.

    Bottom and right are the first row and column below and right of the box; what lies outside the image has
    no effect.
    """
    out[...] = x
    for n, box in enumerate(np.maximum(boxes, 0)):
        top, left, bottom, right = box
        out[n, top:bottom, left:right] = fill
