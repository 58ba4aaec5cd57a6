"""Batch normalization: `statistics` are mean and inv_std of each channel, `affine` its gamma and beta."""

import numpy as np

from cnnx._kernels.reference.activation import relu_forward
from cnnx._typing import Array

Pair = tuple[Array, Array]


def batch_norm_statistics(x: Array, mean: Array, variance: Array) -> None:
    """Mean and variance of each channel over all positions; both are 0 where there are none."""
    if x.size == 0:
        mean[...], variance[...] = 0, 0
        return
    positions = tuple(range(x.ndim - 1))
    mean[...] = x.mean(axis=positions, dtype=np.float64)
    variance[...] = x.var(axis=positions, dtype=np.float64)


def batch_norm_forward(x: Array, statistics: Pair, affine: Pair, relu: bool, out: Array) -> None:
    """out = gamma * (x - mean) * inv_std + beta, and max(0, out) of that where `relu`."""
    (mean, inv_std), (gamma, beta) = statistics, affine
    out[...] = (x - mean) * (gamma * inv_std) + beta
    if relu:
        relu_forward(out, out)


def batch_norm_parameter_gradient(
    grad: Array, x: Array, statistics: Pair, affine: Pair, relu: bool, gamma_grad: Array, beta_grad: Array
) -> None:
    """beta_grad is the sum of g over all positions, gamma_grad that of g * (x - mean) * inv_std."""
    mean, inv_std = statistics
    g = _behind_relu(grad, x, statistics, affine, relu)
    positions = tuple(range(x.ndim - 1))
    beta_grad[...] = g.sum(axis=positions, dtype=np.float64)
    gamma_grad[...] = (g * (x - mean)).sum(axis=positions, dtype=np.float64) * inv_std


def batch_norm_input_gradient(
    grad: Array,
    x: Array,
    statistics: Pair,
    affine: Pair,
    gamma_grad: Array,
    beta_grad: Array,
    relu: bool,
    out: Array,
) -> None:
    """out = gamma * inv_std * (g - mean of g - normalised x * mean of (g * normalised x)): moments depend on x too."""
    (mean, inv_std), (gamma, _) = statistics, affine
    g = _behind_relu(grad, x, statistics, affine, relu)
    count = max(x.size // len(mean), 1)
    out[...] = gamma * inv_std * (g - beta_grad / count - (x - mean) * inv_std * (gamma_grad / count))


def _behind_relu(grad: Array, x: Array, statistics: Pair, affine: Pair, relu: bool) -> Array:
    """The gradient with respect to the normalised array before its ReLU, if it has one."""
    (mean, inv_std), (gamma, beta) = statistics, affine
    return np.where((x - mean) * (gamma * inv_std) + beta <= 0, 0, grad) if relu else grad
