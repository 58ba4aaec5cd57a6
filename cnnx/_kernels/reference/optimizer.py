"""Steps of optimizers, over the vector of all parameters.

`decaying` (ranges, 2) has the first element, and the one after the last, of each range that weight decay acts on.
Scalars are rounded to the dtype of the parameters once; what belongs together, such as 1 - beta, before that.
"""

import numpy as np

from cnnx._typing import Array

Pair = tuple[float, float]


def sgd_step(params: Array, grads: Array, learning_rate: float) -> None:
    """params = params - learning_rate * grads."""
    params -= params.dtype.type(learning_rate) * grads


def momentum_step(
    params: Array,
    grads: Array,
    velocity: Array,
    decaying: Array,
    learning_rate: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> None:
    """velocity = momentum * velocity + g; a step along it, or with Nesterov along g + momentum * velocity."""
    real = params.dtype.type
    g = grads + _decays(params, decaying) * real(weight_decay) * params
    velocity[...] = real(momentum) * velocity + g
    params -= real(learning_rate) * (g + real(momentum) * velocity if nesterov else velocity)


def adagrad_step(
    params: Array,
    grads: Array,
    squares: Array,
    decaying: Array,
    learning_rate: float,
    shares: Pair,
    epsilon: float,
    weight_decay: float,
) -> None:
    """squares = keep * squares + take * g^2, with the shares keep, take; a step along g / (sqrt(squares) + epsilon)."""
    real, (keep, take) = params.dtype.type, shares
    g = grads + _decays(params, decaying) * real(weight_decay) * params
    squares[...] = real(keep) * squares + real(take) * g**2
    params -= real(learning_rate) * g / (np.sqrt(squares) + real(epsilon))


def adam_step(
    params: Array,
    grads: Array,
    moments: tuple[Array, Array],
    decaying: Array,
    betas: Pair,
    rates: Pair,
    divisor: Pair,
    decay: Pair,
) -> None:
    """A step along (mean_rate * mean + grad_rate * g) / (scale * sqrt(square) + epsilon).

    The moments mean and square are the moving averages of g and g^2. Coupled decay is part of g, decoupled decay
    shrinks the parameters by its share.
    """
    real, decays = params.dtype.type, _decays(params, decaying)
    (mean, square), (beta1, beta2), (mean_rate, grad_rate) = moments, betas, rates
    (scale, epsilon), (coupled, decoupled) = divisor, decay
    g = grads + decays * real(coupled) * params
    mean[...] = real(beta1) * mean + real(1 - beta1) * g
    square[...] = real(beta2) * square + real(1 - beta2) * g**2
    params *= np.where(decays, real(1 - decoupled), real(1))
    params -= (real(mean_rate) * mean + real(grad_rate) * g) / (real(scale) * np.sqrt(square) + real(epsilon))


def lion_step(
    params: Array,
    grads: Array,
    mean: Array,
    decaying: Array,
    learning_rate: float,
    betas: Pair,
    decoupled: float,
) -> None:
    """A step along the signs of beta1 * mean + (1 - beta1) * grads; mean moves by beta2."""
    real, (beta1, beta2) = params.dtype.type, betas
    params *= np.where(_decays(params, decaying), real(1 - decoupled), real(1))
    params -= real(learning_rate) * np.sign(real(beta1) * mean + real(1 - beta1) * grads)
    mean[...] = real(beta2) * mean + real(1 - beta2) * grads


def moving_average(average: Array, params: Array, keep: float) -> None:
    """average = keep * average + (1 - keep) * params."""
    real = params.dtype.type
    average[...] = real(keep) * average + real(1 - keep) * params


def sum_of_squares(x: Array, out: Array) -> None:
    """out (1,) = sum of x^2, in float64."""
    with np.errstate(over="ignore"):
        out[0] = (x.astype(np.float64) ** 2).sum()


def penalty(params: Array, grads: Array, decaying: Array, l1: float, l2: float, out: Array) -> None:
    """Add the gradient of l1 |p| + l2 p^2 where parameters decay; out (2,) = sum of |p| and of p^2 there, float64."""
    real, decays = params.dtype.type, _decays(params, decaying)
    grads += decays * (real(l1) * np.sign(params) + 2 * real(l2) * params)
    chosen = params[decays].astype(np.float64)
    out[...] = np.abs(chosen).sum(), (chosen**2).sum()


def _decays(params: Array, decaying: Array) -> Array:
    decays = np.zeros(params.shape, bool)
    for start, stop in decaying:
        decays[start:stop] = True
    return decays
