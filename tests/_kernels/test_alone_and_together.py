"""An output has the same bits in a batch of any size, and before a pooling that is fused or one by itself."""

import itertools

import numpy as np
import pytest

from cnnx import _kernels

SHAPES = [
    shape
    for shape in itertools.product((2, 3, 5, 8), (4, 13, 32), (5, 16, 30), (2, 3, 5, 7), (0, 1, 2, 3))
    if shape[4] < shape[3] and shape[0] + 2 * shape[4] - shape[3] > 0
]


@pytest.mark.parametrize(("side", "channels", "filters", "size", "padding"), SHAPES)
def test_a_convolution_is_the_same_alone_and_pooled(side, channels, filters, size, padding):
    if _kernels.backend_in_use() == "numpy":
        pytest.skip("NumPy's products round differently for other sizes")
    rng = np.random.default_rng(side + channels)
    x = rng.standard_normal((20, side, side, channels), dtype=np.float32)
    W = rng.standard_normal((size, size, channels, filters), dtype=np.float32)
    b = rng.standard_normal(filters, dtype=np.float32)
    rows = side + 2 * padding - size + 1
    window = ((1, 1), (padding, padding))
    y, alone = (np.empty((n, rows, rows, filters), np.float32) for n in (20, 1))
    _kernels.convolution_forward(x, W, b, (*window, (1, 1)), True, y)
    _kernels.convolution_forward(x[:1], W, b, (*window, (1, 1)), True, alone)
    assert np.array_equal(alone, y[:1])
    pooled, apart = (np.empty((20, rows // 2, rows // 2, filters), np.float32) for _ in range(2))
    places = np.empty(pooled.shape, np.uint8)
    _kernels.convolution_pool_forward(x, W, b, (*window, (rows, rows), (2, 2)), True, pooled, places)
    _kernels.max_pool_forward(y, (2, 2), (2, 2), (0, 0), apart, places)
    assert np.array_equal(pooled, apart)
