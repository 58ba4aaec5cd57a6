"""Steps of optimizers."""

from cnnx._typing import Array


def sgd_step(params: Array, grads: Array, learning_rate: float) -> None:
    """params = params - learning_rate * grads."""
    params -= params.dtype.type(learning_rate) * grads
