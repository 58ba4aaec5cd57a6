"""Convolution, perhaps ReLU, and pooling of any windows, one after the other."""

import numpy as np

from cnnx._kernels.reference.convolution import convolution_forward
from cnnx._kernels.reference.pooling import average_pool_forward, max_pool_forward
from cnnx._typing import Array, Pair, Prepared, Window

Pooling = tuple[Pair, Pair, Pair, Pair]


def convolution_max_forward(
    x: Array,
    W: Array,
    b: Array,
    window: Window,
    relu: bool,
    pooling: Pooling,
    out: Array,
    prepared: Prepared | None = None,
) -> None:
    """Convolution, ReLU if `relu`, then the largest of each window; nobody asks for places.

    `pooling` is the size of the convolution's outputs, then the windows' size, stride and padding; `prepared` as in
    `convolution_forward`.
    """
    y = np.empty((len(x), *pooling[0], out.shape[3]), out.dtype)
    convolution_forward(x, W, b, window, relu, y)
    max_pool_forward(y, *pooling[1:], out, None)


def convolution_average_forward(
    x: Array,
    W: Array,
    b: Array,
    window: Window,
    relu: bool,
    pooling: Pooling,
    out: Array,
    prepared: Prepared | None = None,
) -> None:
    """Convolution, ReLU if `relu`, then the average of each window, as `convolution_max_forward` has the largest."""
    y = np.empty((len(x), *pooling[0], out.shape[3]), out.dtype)
    convolution_forward(x, W, b, window, relu, y)
    average_pool_forward(y, *pooling[1:], out)
