"""Optimizers: each is its formula, computed in one pass over the vector of all parameters.

With p the parameters, g the gradient of the mean loss, t the number of the step from 1, and eta the learning rate:

    SGD       p = p - eta g
    momentum  v = mu v + g                  p = p - eta v            Nesterov: p = p - eta (g + mu v)
    Adagrad   s = s + g^2                   p = p - eta g / (sqrt(s) + epsilon)
    RMSprop   s = a s + (1 - a) g^2         p = p - eta g / (sqrt(s) + epsilon)
    Adam      m = b1 m + (1 - b1) g         p = p - eta m' / (sqrt(v') + epsilon)
              v = b2 v + (1 - b2) g^2       with m' = m / (1 - b1^t), v' = v / (1 - b2^t)
    Lion      p = p - eta sign(b1 m + (1 - b1) g)        then m = b2 m + (1 - b2) g

Weight decay acts on weights alone: on the parameters that a layer's `decays` names, and so never on biases or on the
scale and shift of a normalization. In SGD, RMSprop, Adagrad, Adam and Nadam it is *coupled*, as in PyTorch:
g + weight_decay p takes the place of g. In AdamW and Lion it is *decoupled*: p shrinks by eta weight_decay p beside
the step, which the division by sqrt(v) then does not undo (Loshchilov, Hutter, "Decoupled Weight Decay
Regularization", ICLR 2019).
"""

from __future__ import annotations

from cnnx.optimizers.adagrad import Adagrad
from cnnx.optimizers.adam import Adam, AdamW
from cnnx.optimizers.base import Optimizer
from cnnx.optimizers.lion import Lion
from cnnx.optimizers.nadam import Nadam
from cnnx.optimizers.rmsprop import RMSprop
from cnnx.optimizers.sgd import SGD
from cnnx.schedules import Schedule

__all__ = ["OPTIMIZERS", "SGD", "Adagrad", "Adam", "AdamW", "Lion", "Nadam", "Optimizer", "RMSprop"]

OPTIMIZERS: dict[str, type[Optimizer]] = {
    optimizer.__name__.lower(): optimizer for optimizer in (Adagrad, Adam, AdamW, Lion, Nadam, RMSprop, SGD)
}


def check_optimizer(optimizer: Optimizer | str | None, learning_rate: float | Schedule | None, where: str) -> Optimizer:
    """The optimizer that the two arguments name; a learning rate alone is plain gradient descent."""
    if isinstance(optimizer, Optimizer):
        if learning_rate is not None:
            raise ValueError(f"{where}: learning_rate and optimizer: {optimizer!r} has its own learning rate; give one")
        return optimizer
    if optimizer is None:
        if learning_rate is None:
            raise ValueError(f"{where}: expected a learning_rate or an optimizer, got neither")
        return SGD(learning_rate)
    if not isinstance(optimizer, str):
        raise TypeError(f"{where}: optimizer: expected an Optimizer or a name, got {optimizer!r}")
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"{where}: optimizer: expected one of {tuple(OPTIMIZERS)}, got {optimizer!r}")
    kind = OPTIMIZERS[optimizer]
    return kind() if learning_rate is None else kind(learning_rate)
