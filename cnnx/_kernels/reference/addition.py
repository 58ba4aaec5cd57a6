"""Addition."""

import numpy as np

from cnnx._kernels.reference.activation import relu_forward
from cnnx._typing import Array


def add(a: Array, b: Array, relu: bool, out: Array) -> None:
    """out = a + b; with `relu`, max(0, a + b)."""
    np.add(a, b, out=out)
    if relu:
        relu_forward(out, out)
