"""What every optimizer has: its learning rate, its state, clipping of gradients, and an average of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np

from cnnx import _kernels
from cnnx._configured import Configured
from cnnx._typing import Array
from cnnx.checks.arguments import check_not_negative, check_positive, check_share
from cnnx.checks.arrays import is_finite
from cnnx.schedules import Schedule

NO_RANGES = np.empty((0, 2), np.intp)
# Where gradients and state are no larger, their squares and sums of squares do not overflow; nor does a parameter that
# moves by no more than the square of this, which is below half the distance of the largest numbers of the dtype.
CALM = {4: 1e15, 8: 1e145}  # by the size of a number


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
    decoupled: ClassVar[bool] = False

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
        self._reach = 0.0  # no value of the state is larger, and of those that are sums of squares no root

    def __getstate__(self) -> dict[str, Any]:
        """What a copy or a pickle is made of: like one that is restored, it goes on with the next parameters."""
        return {**self.__dict__, "_parameters": None}

    @property
    def leverage(self) -> float:
        """No step is longer than this times the learning rate times the largest value of gradients and state, or 1.

        It is infinite where that is not known; then each step is checked after it is taken.
        """
        return math.inf

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
        FloatingPointError
            If the gradient, or what the step would make of the parameters or the state, is not finite; `parameters`
            and `state` are as before.
        """
        if self._parameters is not parameters:
            self._begin(parameters)
        largest = self._clip(gradients)
        rate = self.rate
        if not self.weight_decay:
            decaying = NO_RANGES
        elif decaying is None:
            decaying = np.array([[0, parameters.size]], np.intp)
        if self.weight_decay and not self.decoupled:
            largest += self.weight_decay * _norm(parameters, "parameter", _kernels.rough_square)
        self._reach += largest
        calm, furthest = CALM[parameters.itemsize], self.leverage * rate * max(self._reach, 1.0)
        if self._reach <= calm and furthest <= calm**2 and rate * self.weight_decay <= 1:
            self._take(parameters, gradients, decaying, rate)
        else:
            self._take_checked(parameters, gradients, decaying, rate)

    def _clip(self, gradients: Array) -> float:
        """Clip the gradients, which must be finite; returns a number that none of them is larger than."""
        if self.clip_norm is None or self.clip_value is not None:
            largest = _norm(gradients, "gradient", _kernels.rough_square)
        if self.clip_value is not None:
            _kernels.clip_elements(self.clip_value, gradients)
        if self.clip_norm is not None:
            largest = _norm(gradients, "gradient", _kernels.sum_of_squares)
            if largest > self.clip_norm:
                _kernels.scale_elements(self.clip_norm / largest, gradients)
        return largest

    def _take_checked(self, parameters: Array, gradients: Array, decaying: Array, rate: float) -> None:
        """Take a step that may overflow, and take it back if it does."""
        before, state, steps = parameters.copy(), {name: value.copy() for name, value in self.state.items()}, self.steps
        with np.errstate(all="ignore"):
            self._take(parameters, gradients, decaying, rate)
        spoilt = [name for name, value in {"parameters": parameters, **self.state}.items() if not is_finite(value)]
        if spoilt:
            parameters[...], self.state, self.steps = before, state, steps
        self._reach = _largest(self.state)
        if spoilt:
            raise FloatingPointError(f"the update gives NaN or infinite values ({', '.join(spoilt)})")

    def _take(self, parameters: Array, gradients: Array, decaying: Array, rate: float) -> None:
        self.steps += 1
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
        self._parameters, self._reach = parameters, _largest(self.state)


def _largest(state: dict[str, Array]) -> float:
    """The largest value of all, or 1: of what is a sum of squares, it bounds the root, too."""
    return max([1.0, *(float(np.abs(value).max(initial=0)) for value in state.values())])


def _norm(values: Array, name: str, sum_of_squares: Callable[[Array, Array], None]) -> float:
    """The Euclidean norm, which no value is larger than; they must be finite."""
    total = np.empty(1)
    sum_of_squares(values, total)
    norm = math.sqrt(total[0])
    if math.isfinite(norm):
        return norm
    wrong = int(values.size - np.isfinite(values).sum())
    if wrong:
        raise FloatingPointError(f"the {name} became NaN or infinite for {wrong} of {values.size} parameters")
    largest = float(np.abs(values).max())
    return largest * float(np.linalg.norm(values / largest))
