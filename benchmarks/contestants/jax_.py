"""JAX: one jitted function for a step, NHWC."""

import os
from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.networks import Convolution, Dense, Dropout, Flatten, MaxPool, Network, Relu, Weights

BUILT = (Convolution, Relu, MaxPool, Flatten, Dropout, Dense)


class Contestant:
    def __init__(self, threads: int) -> None:
        # XLA has no setting for its threads: it takes as many as the processors it may run on.
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])

    def training(
        self, network: Network, weights: Weights, X: np.ndarray, y: np.ndarray, learning_rate: float
    ) -> Callable[[], float]:
        import jax
        import jax.numpy as jnp

        if absent := {type(layer).__name__ for layer in network.layers if not isinstance(layer, BUILT)}:
            raise NotImplementedError(f"not built for JAX: {', '.join(sorted(absent))}")

        def loss_of_batch(parameters: list, images: jax.Array, labels: jax.Array, key: jax.Array) -> jax.Array:
            log_probabilities = jax.nn.log_softmax(_forward(network, parameters, images, key))
            return -jnp.mean(jnp.take_along_axis(log_probabilities, labels[:, None], axis=1))

        @partial(jax.jit, donate_argnums=0)
        def step(parameters: list, images: jax.Array, labels: jax.Array, key: jax.Array) -> tuple:
            key, now = jax.random.split(key)
            loss, grads = jax.value_and_grad(loss_of_batch)(parameters, images, labels, now)
            return jax.tree.map(lambda p, g: p - learning_rate * g, parameters, grads), loss, key

        state = [jax.tree.map(jnp.array, list(weights)), jax.random.key(0)]
        images, labels = jnp.asarray(X), jnp.asarray(y)

        def run() -> float:
            state[0], loss, state[1] = step(state[0], images, labels, state[1])
            jax.block_until_ready(state[0])
            return float(loss)

        return run


def _forward(network: Network, parameters: list, x, key):
    import jax

    for layer, pair in zip(network.layers, parameters, strict=True):
        match layer:
            case Convolution(_, _, padding, stride):
                steps, pads = (stride, stride), [(padding, padding)] * 2
                x = jax.lax.conv_general_dilated(x, pair[0], steps, pads, dimension_numbers=("NHWC", "HWIO", "NHWC"))
                x += pair[1]
            case Relu():
                x = jax.nn.relu(x)
            case MaxPool(size, stride, padding):
                window, steps = (1, size, size, 1), (1, stride, stride, 1)
                pads = [(0, 0), (padding, padding), (padding, padding), (0, 0)]
                x = jax.lax.reduce_window(x, -np.inf, jax.lax.max, window, steps, pads)
            case Flatten():
                x = x.reshape(len(x), -1)
            case Dropout(rate):
                x = x * jax.random.bernoulli(key, 1 - rate, x.shape) / (1 - rate)
            case Dense():
                x = x @ pair[0] + pair[1]
    return x
