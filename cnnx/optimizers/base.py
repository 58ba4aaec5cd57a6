"""What every optimizer has: its learning rate, its state, clipping of gradients, and an average of the weights."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np

from cnnx import _kernels
from cnnx._configured import Configured
from cnnx._typing import Array
from cnnx.checks.arguments import check_not_negative, check_positive, check_share
from cnnx.schedules import Schedule

NO_RANGES = np.empty((0, 2), np.intp)


class _StepSize:
    """The field `learning_rate`: it is checked whenever it is set, and may be changed between two steps."""

    def __init__(self, default: float | None) -> None:
        self.default = default

    def __get__(self, optimizer: Optimizer | None, kind: type[Optimizer]) -> float | Schedule:
        if optimizer is not None:
            value: float | Schedule = optimizer.__dict__["learning_rate"]
            return value
        if self.default is None:  # then dataclasses, which asks the class for its default, finds none
            raise AttributeError("learning_rate")
        return self.default

    def __set__(self, optimizer: Optimizer, value: float | Schedule) -> None:
        if isinstance(value, Optimizer):
            raise TypeError(f"learning_rate: expected a number or a schedule, got {value!r}; say optimizer= for it")
        checked = value if isinstance(value, Schedule) else check_positive(value, "learning_rate")
        optimizer.__dict__["learning_rate"] = checked


def step_size(default: float | None = None) -> Any:
    """The field of an optimizer's learning rate, with its default."""
    return _StepSize(default)


@dataclass(eq=False, repr=False)
class Optimizer(Configured):
    """What every optimizer has: a learning rate, its state, clipping of gradients, and an average of the weights.

    A subclass is a dataclass whose fields are its arguments; it names its `arrays` and implements `update`. An
    optimizer belongs to the parameters of one model; used in a second training run of that model, it goes on where it
    stopped.

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

    learning_rate: float | Schedule = step_size()
    _: KW_ONLY
    weight_decay: float = 0.0
    clip_norm: float | None = None
    clip_value: float | None = None
    ema: float | None = None

    arrays: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        name = type(self).__name__
        self.weight_decay = check_not_negative(self.weight_decay, f"{name}: weight_decay")
        if self.clip_norm is not None:
            self.clip_norm = check_positive(self.clip_norm, f"{name}: clip_norm")
        if self.clip_value is not None:
            self.clip_value = check_positive(self.clip_value, f"{name}: clip_value")
        if self.ema is not None:
            self.ema = check_share(self.ema, f"{name}: ema")
        self.steps = 0
        self.progress = 0.0
        self.state: dict[str, Array] = {}
        self._parameters: Array | None = None

    @property
    def rate(self) -> float:
        """The learning rate of the next step, a number."""
        rate: float | Schedule = self.__dict__["learning_rate"]  # not by the field, for each step asks
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
            _kernels.clip_elements(self.clip_value, gradients)
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
        rate = self.learning_rate
        return {**self.arguments(), "learning_rate": rate.config() if isinstance(rate, Schedule) else rate}

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


def _clip_norm(gradients: Array, limit: float) -> None:
    total = np.empty(1)
    _kernels.sum_of_squares(gradients, total)
    norm = math.sqrt(total[0])
    if norm > limit:
        _kernels.scale_elements(limit / norm, gradients)
