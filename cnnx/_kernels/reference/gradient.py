"""What is done to the gradient of all parameters before a step, in place."""

import numpy as np

from cnnx._typing import Array


def clip_elements(limit: float, out: Array) -> None:
    """Limit each element to [-limit, limit]; NaN stays."""
    np.clip(out, -limit, limit, out=out)


def scale_elements(factor: float, out: Array) -> None:
    """Multiply each element by the factor."""
    out *= factor
