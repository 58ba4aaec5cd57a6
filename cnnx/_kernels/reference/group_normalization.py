"""Layer and group normalization of arrays (examples, positions, channels)."""

import numpy as np

from cnnx._typing import Array


def _spread(values: Array, x: Array) -> Array:
    """A value for each example and group, (examples, groups), for each channel: (examples, 1, channels)."""
    return np.repeat(values, x.shape[2] // values.shape[1], axis=1)[:, np.newaxis]


def _group_means(x: Array, groups: int) -> Array:
    """(examples, groups)."""
    examples, positions, channels = x.shape
    means: Array = x.reshape(examples, positions, groups, channels // groups).mean(axis=(1, 3))
    return means


def group_norm_forward(
    x: Array, gamma: Array, beta: Array, epsilon: float, mean: Array, inv_std: Array, out: Array
) -> None:
    """out = (x - mean) * inv_std * gamma + beta, with the moments of each group of each example.

    `mean` and `inv_std`, 1 / sqrt(variance + epsilon), are (examples, groups); `gamma` and `beta` are (channels,).
    """
    groups = mean.shape[1]
    mean[...] = _group_means(x, groups)
    inv_std[...] = 1 / np.sqrt(_group_means((x - _spread(mean, x)) ** 2, groups) + x.dtype.type(epsilon))
    np.add((x - _spread(mean, x)) * (_spread(inv_std, x) * gamma), beta, out=out)


def group_norm_parameter_gradient(
    grad: Array, x: Array, mean: Array, inv_std: Array, gamma_grad: Array, beta_grad: Array
) -> None:
    """Sums over examples and positions of grad * xhat and of grad, (channels,)."""
    normalized = (x - _spread(mean, x)) * _spread(inv_std, x)
    np.sum(grad * normalized, axis=(0, 1), out=gamma_grad)
    np.sum(grad, axis=(0, 1), out=beta_grad)


def group_norm_input_gradient(grad: Array, x: Array, mean: Array, inv_std: Array, gamma: Array, out: Array) -> None:
    """out = inv_std * (grad * gamma - its mean - xhat * the mean of grad * gamma * xhat)."""
    groups = mean.shape[1]
    normalized = (x - _spread(mean, x)) * _spread(inv_std, x)
    scaled = grad * gamma
    average = _spread(_group_means(scaled, groups), x)
    slope = _spread(_group_means(scaled * normalized, groups), x)
    np.multiply(_spread(inv_std, x), scaled - average - normalized * slope, out=out)
