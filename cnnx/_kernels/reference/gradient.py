"""What is done to the gradient of all parameters before a step: it is looked at, and changed in place."""

import numpy as np

from cnnx._typing import Array


def rough_square(x: Array, out: Array) -> None:
    """out (1,) = sum of x^2 with the precision of x: not finite if any x is not, or too large to be squared."""
    with np.errstate(over="ignore", invalid="ignore"):
        out[0] = (x * x).sum()


def clip_elements(limit: float, out: Array) -> None:
    """Limit each element to [-limit, limit]; NaN stays."""
    np.clip(out, -limit, limit, out=out)


def scale_elements(factor: float, out: Array) -> None:
    """Multiply each element by the factor."""
    out *= factor
