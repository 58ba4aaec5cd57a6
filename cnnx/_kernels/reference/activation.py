"""Activations, and their gradients from the input `x` or from the output `y`."""

import math

import numpy as np

from cnnx._typing import Array


def _bounded(x: Array) -> Array:
    """Infinities as the largest numbers, so that 0 * infinity does not make NaN of a limit that is 0."""
    largest = np.finfo(x.dtype).max
    return np.clip(x, -largest, largest)


def relu_forward(x: Array, out: Array) -> None:
    """out = max(0, x)."""
    np.maximum(x, 0, out=out)


def relu_backward(grad: Array, y: Array, out: Array) -> None:
    """The gradient passes where the output `y` is above zero (or NaN)."""
    out[...] = np.where(y <= 0, 0, grad)


def leaky_relu_forward(x: Array, slope: float, out: Array) -> None:
    """out = x where x > 0, else slope * x; with a slope above 0."""
    out[...] = np.where(x > 0, x, x * x.dtype.type(slope))


def leaky_relu_backward(grad: Array, y: Array, slope: float, out: Array) -> None:
    """The slope is 1 where the output `y` is above zero, as `x` is."""
    out[...] = np.where(y > 0, grad, grad * y.dtype.type(slope))


def prelu_forward(x: Array, slope: Array, out: Array) -> None:
    """out = x where x > 0, else slope * x, with a slope for each channel."""
    out[...] = np.where(x > 0, x, x * slope)


def prelu_backward(grad: Array, x: Array, slope: Array, slope_grad: Array, out: Array | None) -> None:
    """slope_grad is the sum of grad * x over all positions where x is not above zero; `out` may be left out."""
    positions = tuple(range(x.ndim - 1))
    slope_grad[...] = np.where(x > 0, 0, grad * x).sum(axis=positions, dtype=np.float64)
    if out is not None:
        out[...] = np.where(x > 0, grad, grad * slope)


def elu_forward(x: Array, alpha: float, scale: float, out: Array) -> None:
    """out = scale * x where x > 0, else scale * alpha * (exp(x) - 1)."""
    out[...] = scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def elu_backward(grad: Array, y: Array, alpha: float, scale: float, out: Array) -> None:
    """The slope is scale where y > 0, else scale * alpha * exp(x) = y + scale * alpha."""
    out[...] = grad * np.where(y > 0, scale, y + alpha * scale)


def _normal(x: Array) -> Array:
    """The distribution function of the standard normal distribution, (1 + erf(x / sqrt(2))) / 2."""
    out: Array = np.vectorize(math.erfc, otypes=[float])(-x * math.sqrt(0.5)) / 2
    return out.astype(x.dtype)


def gelu_forward(x: Array, out: Array) -> None:
    """out = x * Phi(x), where Phi is the standard normal distribution function."""
    out[...] = np.where(x > 0, x, _bounded(x)) * _normal(x)


def gelu_backward(grad: Array, x: Array, out: Array) -> None:
    """The slope is Phi(x) + x * phi(x), where phi is the standard normal density."""
    density = np.exp(-(np.clip(x, -1e4, 1e4) ** 2) / 2) / math.sqrt(2 * math.pi)
    out[...] = grad * (_normal(x) + _bounded(x) * density)


def _sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), written so that exp never overflows."""
    below = np.exp(-np.abs(x))
    out: Array = np.where(x < 0, below, 1) / (1 + below)
    return out


def sigmoid_forward(x: Array, out: Array) -> None:
    """out = 1 / (1 + exp(-x))."""
    out[...] = _sigmoid(x)


def sigmoid_backward(grad: Array, y: Array, out: Array) -> None:
    """The slope is y * (1 - y)."""
    out[...] = grad * (y * (1 - y))


def silu_forward(x: Array, out: Array) -> None:
    """out = x * sigmoid(x)."""
    out[...] = np.where(x > 0, x, _bounded(x)) * _sigmoid(x)


def silu_backward(grad: Array, x: Array, out: Array) -> None:
    """The slope is s * (1 + x * (1 - s)), with s = sigmoid(x)."""
    share = _sigmoid(x)
    out[...] = grad * (share * (1 + _bounded(x) * (1 - share)))


def tanh_forward(x: Array, out: Array) -> None:
    """out = tanh(x)."""
    np.tanh(x, out=out)


def tanh_backward(grad: Array, y: Array, out: Array) -> None:
    """The slope is 1 - y^2."""
    out[...] = grad * (1 - y * y)


def softplus_forward(x: Array, out: Array) -> None:
    """out = log(1 + exp(x)), written so that exp never overflows."""
    out[...] = np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def softplus_backward(grad: Array, y: Array, out: Array) -> None:
    """The slope is sigmoid(x) = 1 - exp(-y)."""
    out[...] = grad * -np.expm1(-y)


def hard_swish_forward(x: Array, out: Array) -> None:
    """out = x * min(max(x + 3, 0), 6) / 6."""
    out[...] = np.where(x > 0, x, _bounded(x)) * (np.clip(x + 3, 0, 6) / 6)


def hard_swish_backward(grad: Array, x: Array, out: Array) -> None:
    """The slope is 0 up to -3, 1 from 3 on, and (2 * x + 3) / 6 between them."""
    out[...] = grad * np.where(x <= -3, 0, np.where(x >= 3, 1, (2 * np.clip(x, -3, 3) + 3) / 6))
