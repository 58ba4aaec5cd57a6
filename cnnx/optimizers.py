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

import math
from typing import Any, ClassVar

import numpy as np

from cnnx import _kernels
from cnnx._typing import Array
from cnnx.checks import check_not_negative, check_positive, check_share
from cnnx.schedules import Schedule

__all__ = ["OPTIMIZERS", "SGD", "Adagrad", "Adam", "AdamW", "Lion", "Nadam", "Optimizer", "RMSprop"]

NO_RANGES = np.empty((0, 2), np.intp)


class Optimizer:
    """What every optimizer has: a learning rate, its state, clipping of gradients, and an average of the weights.

    A subclass names its `arrays` and implements `update`. An optimizer belongs to the parameters of one model; used in
    a second training run of that model, it goes on where it stopped.

    Parameters
    ----------
    learning_rate : float or Schedule
        Step size, above 0.
    weight_decay : float, default 0
        See the module's text for what it does; 0 or more.
    clip_norm : float, optional
        A gradient with a larger Euclidean norm, over all parameters, is scaled down to it (Pascanu, Mikolov, Bengio,
        "On the difficulty of training recurrent neural networks", ICML 2013).
    clip_value : float, optional
        Each element of the gradient is limited to -clip_value to clip_value, before its norm is taken.
    ema : float, optional
        Also keep the exponential moving average of the weights, with this share of its old value at each step, in
        [0, 1), such as 0.999; at step t the share is at most (1 + t) / (10 + t), so that the start is soon forgotten.
        `Model.train` validates with the averaged weights, and they become the model's weights when it ends. Running
        averages of a batch normalization are not averaged again (Polyak, Juditsky, "Acceleration of Stochastic
        Approximation by Averaging", SIAM J. Control Optim. 30, 1992).

    Attributes
    ----------
    steps : int
        Steps taken so far.
    progress : float
        Epochs trained so far, with their fractions, where `Model.train` took the steps. A schedule depends on it.
    state : dict of str to ndarray
        What is kept from step to step; empty before the first one.
    """

    arrays: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        learning_rate: float | Schedule,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        ema: float | None = None,
    ) -> None:
        name = type(self).__name__
        self.learning_rate = learning_rate
        self.weight_decay = check_not_negative(weight_decay, f"{name}: weight_decay")
        self.clip_norm = None if clip_norm is None else check_positive(clip_norm, f"{name}: clip_norm")
        self.clip_value = None if clip_value is None else check_positive(clip_value, f"{name}: clip_value")
        self.ema = None if ema is None else check_share(ema, f"{name}: ema")
        self.steps = 0
        self.progress = 0.0
        self.state: dict[str, Array] = {}
        self._parameters: Array | None = None

    @property
    def learning_rate(self) -> float | Schedule:
        """As in the constructor; it may be changed between two steps."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float | Schedule) -> None:
        if isinstance(value, Optimizer):
            raise TypeError(f"learning_rate: expected a number or a schedule, got {value!r}; say optimizer= for it")
        self._learning_rate = value if isinstance(value, Schedule) else check_positive(value, "learning_rate")

    @property
    def rate(self) -> float:
        """The learning rate of the next step, a number."""
        rate = self._learning_rate
        return rate(self.progress) if isinstance(rate, Schedule) else rate

    def step(self, parameters: Array, gradients: Array, decaying: Array | None = None) -> None:
        """Take one step.

        Parameters
        ----------
        parameters : ndarray of shape (parameters,)
            Changed in place; in each call the same array.
        gradients : ndarray of shape (parameters,)
            Clipping changes it in place.
        decaying : ndarray of shape (ranges, 2), dtype intp, optional
            The first element, and the one after the last, of each range that weight decay acts on; all by default.

        Raises
        ------
        ValueError
            If this optimizer has taken steps for other parameters.
        """
        if self._parameters is not parameters:
            self._begin(parameters)
        if self.clip_value is not None:
            np.clip(gradients, -self.clip_value, self.clip_value, out=gradients)
        if self.clip_norm is not None:
            _clip_norm(gradients, self.clip_norm)
        rate = self.rate
        self.steps += 1
        if not self.weight_decay:
            decaying = NO_RANGES
        elif decaying is None:
            decaying = np.array([[0, parameters.size]], np.intp)
        self.update(parameters, gradients, decaying, rate)
        if self.ema is not None:
            keep = min(self.ema, (1 + self.steps) / (10 + self.steps))
            _kernels.moving_average(self.state["average"], parameters, keep)

    def update(self, parameters: Array, gradients: Array, decaying: Array, rate: float) -> None:
        """Change `parameters` and `state` by the formula; `steps` counts this step already."""
        raise NotImplementedError

    def start(self, parameters: Array) -> dict[str, Array]:
        """The state before the first step."""
        return {name: np.zeros_like(parameters) for name in self.arrays}

    def swap_average(self, parameters: Array) -> None:
        """Exchange the parameters for their average, in place; called again, exchange them back."""
        if self.ema is not None and "average" in self.state:
            average, weights = self.state["average"], parameters.copy()
            parameters[...] = average
            average[...] = weights

    def renew_average(self, parameters: Array) -> None:
        """The average begins anew at the parameters, which may have been changed between two runs."""
        if self._parameters is parameters and "average" in self.state:
            self.state["average"][...] = parameters

    def adopt_average(self, parameters: Array) -> None:
        """The parameters become their average, from which further steps go on."""
        if self.ema is not None and "average" in self.state:
            parameters[...] = self.state["average"]

    def restore(self, steps: int, progress: float, state: dict[str, Array]) -> None:
        """Go on from where another optimizer of this kind was; its state is that of the next parameters stepped on."""
        self.steps, self.progress, self.state, self._parameters = steps, progress, state, None

    def config(self) -> dict[str, Any]:
        """The constructor's arguments as plain JSON values; a schedule by its name and arguments."""
        rate = self._learning_rate
        return {
            "learning_rate": rate.config() if isinstance(rate, Schedule) else rate,
            "weight_decay": self.weight_decay,
            "clip_norm": self.clip_norm,
            "clip_value": self.clip_value,
            "ema": self.ema,
        }

    def __repr__(self) -> str:
        shown = {**self.config(), "learning_rate": self._learning_rate}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def _begin(self, parameters: Array) -> None:
        """A state of zeros for these parameters, or a check that a restored one fits them."""
        if self._parameters is not None and self.steps:
            raise ValueError(
                f"{type(self).__name__}: it has taken {self.steps} steps for other parameters (of another model, or "
                "from before this one was built again); make a new optimizer"
            )
        start = self.start(parameters)
        if self.ema is not None:
            start["average"] = parameters.copy()
        if not self.steps:
            self.state = start
        expected = {name: (value.shape, value.dtype) for name, value in start.items()}
        if {name: (value.shape, value.dtype) for name, value in self.state.items()} != expected:
            raise ValueError(f"{type(self).__name__}: its state does not fit {parameters.size} {parameters.dtype}s")
        self._parameters = parameters


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if asked for.

    v = momentum v + g, p = p - eta v; with Nesterov's momentum p = p - eta (g + momentum v).

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.001
    momentum : float, default 0
        In [0, 1).
    nesterov : bool, default False
        It needs a momentum above 0.
    weight_decay, clip_norm, clip_value, ema
        As in `Optimizer`; the decay is coupled.

    Notes
    -----
    Sutskever, Martens, Dahl, Hinton, "On the importance of initialization and momentum in deep learning", ICML 2013,
    in PyTorch's form, where the learning rate is no part of v.
    """

    def __init__(
        self,
        learning_rate: float | Schedule = 1e-3,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        ema: float | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clip_norm, clip_value, ema)
        self.momentum = check_share(momentum, "SGD: momentum")
        self.nesterov = bool(nesterov)
        if nesterov and not momentum:
            raise ValueError("SGD: nesterov: expected a momentum above 0 with it, got 0")

    @property
    def plain(self) -> bool:
        """Whether there is nothing to keep from step to step."""
        return not (self.momentum or self.weight_decay)

    def start(self, parameters: Array) -> dict[str, Array]:
        """The velocity, where there is one."""
        return {} if self.plain else {"velocity": np.zeros_like(parameters)}

    def update(self, parameters: Array, gradients: Array, decaying: Array, rate: float) -> None:
        """p = p - eta v."""
        if self.plain:
            _kernels.sgd_step(parameters, gradients, rate)
        else:
            momentum, nesterov, decay = self.momentum, self.nesterov, self.weight_decay
            velocity = self.state["velocity"]
            _kernels.momentum_step(parameters, gradients, velocity, decaying, rate, momentum, nesterov, decay)

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().config(), "momentum": self.momentum, "nesterov": self.nesterov}


class Adagrad(Optimizer):
    """Steps divided by the root of the sum of all squared gradients: p = p - eta g / (sqrt(s) + epsilon), s = s + g^2.

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.01
    epsilon : float, default 1e-10
    weight_decay, clip_norm, clip_value, ema
        As in `Optimizer`; the decay is coupled.

    Notes
    -----
    Duchi, Hazan, Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic Optimization", JMLR 12, 2011.
    """

    arrays: ClassVar[tuple[str, ...]] = ("squares",)

    def __init__(
        self,
        learning_rate: float | Schedule = 1e-2,
        epsilon: float = 1e-10,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        ema: float | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clip_norm, clip_value, ema)
        self.epsilon = check_positive(epsilon, "Adagrad: epsilon")

    def update(self, parameters: Array, gradients: Array, decaying: Array, rate: float) -> None:
        """p = p - eta g / (sqrt(s) + epsilon)."""
        squares, decay = self.state["squares"], self.weight_decay
        _kernels.adagrad_step(parameters, gradients, squares, decaying, rate, 1.0, 1.0, self.epsilon, decay)

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().config(), "epsilon": self.epsilon}


class RMSprop(Optimizer):
    """Steps divided by the root of a moving average of squared gradients.

    s = smoothing s + (1 - smoothing) g^2, p = p - eta g / (sqrt(s) + epsilon).

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.01
    smoothing : float, default 0.99
        Share of its old value that the average keeps, in [0, 1).
    epsilon : float, default 1e-8
    weight_decay, clip_norm, clip_value, ema
        As in `Optimizer`; the decay is coupled.

    Notes
    -----
    Hinton, "Neural Networks for Machine Learning", lecture 6e, 2012.
    """

    arrays: ClassVar[tuple[str, ...]] = ("squares",)

    def __init__(
        self,
        learning_rate: float | Schedule = 1e-2,
        smoothing: float = 0.99,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        ema: float | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clip_norm, clip_value, ema)
        self.smoothing = check_share(smoothing, "RMSprop: smoothing")
        self.epsilon = check_positive(epsilon, "RMSprop: epsilon")

    def update(self, parameters: Array, gradients: Array, decaying: Array, rate: float) -> None:
        """p = p - eta g / (sqrt(s) + epsilon)."""
        keep, take = self.smoothing, 1 - self.smoothing
        squares, decay = self.state["squares"], self.weight_decay
        _kernels.adagrad_step(parameters, gradients, squares, decaying, rate, keep, take, self.epsilon, decay)

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().config(), "smoothing": self.smoothing, "epsilon": self.epsilon}


class Adam(Optimizer):
    """Steps along the mean gradient divided by the root of the mean square, both moving averages, bias corrected.

    m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, p = p - eta m' / (sqrt(v') + epsilon) with m' = m / (1 - b1^t) and
    v' = v / (1 - b2^t).

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.001
    beta1, beta2 : float, default 0.9 and 0.999
        In [0, 1).
    epsilon : float, default 1e-8
    weight_decay, clip_norm, clip_value, ema
        As in `Optimizer`; the decay is coupled.

    Notes
    -----
    Kingma, Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015.
    """

    arrays: ClassVar[tuple[str, ...]] = ("mean", "square")
    decoupled: ClassVar[bool] = False

    def __init__(
        self,
        learning_rate: float | Schedule = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        ema: float | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clip_norm, clip_value, ema)
        name = type(self).__name__
        self.beta1, self.beta2 = check_share(beta1, f"{name}: beta1"), check_share(beta2, f"{name}: beta2")
        self.epsilon = check_positive(epsilon, f"{name}: epsilon")

    def update(self, parameters: Array, gradients: Array, decaying: Array, rate: float) -> None:
        """p = p - eta m' / (sqrt(v') + epsilon)."""
        self._move(parameters, gradients, decaying, rate, rate / (1 - self.beta1**self.steps), 0.0)

    def _move(
        self, parameters: Array, gradients: Array, decaying: Array, rate: float, mean_rate: float, grad_rate: float
    ) -> None:
        """p = p - (mean_rate m + grad_rate g) / (sqrt(v') + epsilon)."""
        scale = 1 / math.sqrt(1 - self.beta2**self.steps)
        coupled, decoupled = (0.0, rate * self.weight_decay) if self.decoupled else (self.weight_decay, 0.0)
        arrays = (parameters, gradients, self.state["mean"], self.state["square"], decaying)
        averages = (self.beta1, self.beta2)
        _kernels.adam_step(*arrays, *averages, mean_rate, grad_rate, scale, self.epsilon, coupled, decoupled)

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().config(), "beta1": self.beta1, "beta2": self.beta2, "epsilon": self.epsilon}


class AdamW(Adam):
    """Adam with decoupled weight decay: p = (1 - eta weight_decay) p, and Adam's step on g alone.

    Parameters
    ----------
    learning_rate, beta1, beta2, epsilon
        As in `Adam`.
    weight_decay : float, default 0.01
    clip_norm, clip_value, ema
        As in `Optimizer`.

    Notes
    -----
    Loshchilov, Hutter, "Decoupled Weight Decay Regularization", ICLR 2019.
    """

    decoupled: ClassVar[bool] = True

    def __init__(
        self,
        learning_rate: float | Schedule = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 1e-2,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        ema: float | None = None,
    ) -> None:
        super().__init__(learning_rate, beta1, beta2, epsilon, weight_decay, clip_norm, clip_value, ema)


class Nadam(Adam):
    """Adam with Nesterov's momentum, which looks one step ahead.

    p = p - eta (mu_(t+1) m / (1 - M_(t+1)) + (1 - mu_t) g / (1 - M_t)) / (sqrt(v') + epsilon)

    with mu_t = b1 (1 - 0.96^(t momentum_decay) / 2) and M_t the product of mu_1 to mu_t.

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.002
    beta1, beta2, epsilon
        As in `Adam`.
    momentum_decay : float, default 0.004
        How fast mu_t rises from b1 / 2 to b1; 0 or more.
    weight_decay, clip_norm, clip_value, ema
        As in `Optimizer`; the decay is coupled.

    Notes
    -----
    Dozat, "Incorporating Nesterov Momentum into Adam", ICLR workshop 2016.
    """

    def __init__(
        self,
        learning_rate: float | Schedule = 2e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        momentum_decay: float = 4e-3,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        ema: float | None = None,
    ) -> None:
        super().__init__(learning_rate, beta1, beta2, epsilon, weight_decay, clip_norm, clip_value, ema)
        self.momentum_decay = check_not_negative(momentum_decay, "Nadam: momentum_decay")

    def start(self, parameters: Array) -> dict[str, Array]:
        """Both averages, and the product of all momenta so far."""
        return {**super().start(parameters), "product": np.ones(1)}

    def update(self, parameters: Array, gradients: Array, decaying: Array, rate: float) -> None:
        """p = p - eta (mu_(t+1) m / (1 - M_(t+1)) + (1 - mu_t) g / (1 - M_t)) / (sqrt(v') + epsilon)."""
        momentum, following = self._momentum(self.steps), self._momentum(self.steps + 1)
        self.state["product"] *= momentum
        product = float(self.state["product"][0])
        mean_rate, grad_rate = rate * following / (1 - product * following), rate * (1 - momentum) / (1 - product)
        self._move(parameters, gradients, decaying, rate, mean_rate, grad_rate)

    def _momentum(self, step: int) -> float:
        return self.beta1 * (1 - 0.5 * float(0.96 ** (step * self.momentum_decay)))

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().config(), "momentum_decay": self.momentum_decay}


class Lion(Optimizer):
    """Steps of one size along the signs of the momentum: p = (1 - eta weight_decay) p - eta sign(b1 m + (1 - b1) g).

    Then m = b2 m + (1 - b2) g. It keeps half of Adam's state, and wants about a tenth of its learning rate.

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.0001
    beta1, beta2 : float, default 0.9 and 0.99
        In [0, 1).
    weight_decay, clip_norm, clip_value, ema
        As in `Optimizer`; the decay is decoupled.

    Notes
    -----
    Chen and others, "Symbolic Discovery of Optimization Algorithms", NeurIPS 2023, algorithm 2.
    """

    arrays: ClassVar[tuple[str, ...]] = ("mean",)

    def __init__(
        self,
        learning_rate: float | Schedule = 1e-4,
        beta1: float = 0.9,
        beta2: float = 0.99,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        ema: float | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clip_norm, clip_value, ema)
        self.beta1, self.beta2 = check_share(beta1, "Lion: beta1"), check_share(beta2, "Lion: beta2")

    def update(self, parameters: Array, gradients: Array, decaying: Array, rate: float) -> None:
        """p = p - eta sign(b1 m + (1 - b1) g)."""
        mean, decay = self.state["mean"], rate * self.weight_decay
        _kernels.lion_step(parameters, gradients, mean, decaying, rate, self.beta1, self.beta2, decay)

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().config(), "beta1": self.beta1, "beta2": self.beta2}


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
    return kind() if learning_rate is None else kind(learning_rate)  # type: ignore[call-arg]


def _clip_norm(gradients: Array, limit: float) -> None:
    total = np.empty(1)
    _kernels.sum_of_squares(gradients, total)
    norm = math.sqrt(total[0])
    if norm > limit:
        gradients *= gradients.dtype.type(limit / norm)
