"""Standardization: inputs get mean 0 and deviation 1, by figures of the training data.

    y = (x - mean) / deviation        dL/dx = g / deviation

with g = dL/dy. Mean and deviation are learned once, before training, over all examples; the deviation is that of the
data itself (divisor n). Chunks of the data are put together by

    mean    = mean_a + (mean_b - mean_a) * n_b / n
    squares = squares_a + squares_b + (mean_b - mean_a)^2 * n_a * n_b / n

with n = n_a + n_b, and squares = n * deviation^2; where examples have weights, n is their sum (Chan, Golub, LeVeque,
"Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979, eq. 2.1).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np

from cnnx import _kernels
from cnnx._typing import Array, Shape
from cnnx.checks.arrays import check_numbers, check_shape
from cnnx.checks.weights import check_weights
from cnnx.layers.base import Layer
from cnnx.memory.context import Context
from cnnx.memory.uses import Uses

PER = ("channel", "value")
# Values in a chunk, which `learn` converts to double precision: 8 MiB.
CHUNK = 2**20


class StandardizeLayer(Layer):
    """Subtract the training data's mean and divide by its deviation; (batch, ...) to the same shape.

    It is a model's first layer, so that the model takes data as they are, such as images of bytes: `Model.train` has it
    learn from the training data once, before the first step, and it is saved with the model.

    Parameters
    ----------
    per : {'channel', 'value'}
        One mean and deviation for each channel of images (height, width, channels) and each feature of a table
        (features,), or for each value of an example. For tables it is the same.
    mean, deviation : float or sequence of float, optional
        Known values, as a number or in the shape of `state`; what is not given is learned.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above: deviations are above 0; from `build`, if values given have another shape.
    RuntimeError
        From `forward`, if the layer has neither learned nor been given its mean and deviation.

    Notes
    -----
    ``state["mean"]`` and ``state["deviation"]`` are (channels,), or of the shape of an example with ``per="value"``;
    NaN before the layer has learned. A channel that is constant in the training data gets the deviation 1.

    LeCun, Bottou, Orr, Müller, "Efficient BackProp", 1998, section 4.3.
    """

    uses: ClassVar[Uses] = Uses(input=False, output=False)

    def __init__(
        self,
        per: Literal["channel", "value"] = "channel",
        mean: float | Sequence[Any] | None = None,
        deviation: float | Sequence[Any] | None = None,
    ) -> None:
        super().__init__()
        if per not in PER:
            raise ValueError(f"{self.name}: per: expected one of {PER}, got {per!r}")
        self.per = per
        self.mean = self._checked_values(mean, "mean")
        self.deviation = self._checked_values(deviation, "deviation")
        if self.deviation is not None and not (self.deviation > 0).all():
            raise ValueError(f"{self.name}: deviation: expected numbers above 0, got {deviation!r}")

    def _checked_values(self, values: Any, name: str) -> Array | None:
        if values is None:
            return None
        numbers = check_numbers(values, f"{self.name}: {name}").astype(np.float64)
        if not np.isfinite(numbers).all():
            raise ValueError(f"{self.name}: {name}: expected finite numbers, got {values!r}")
        return numbers

    def create(self, input_shape: Shape, rng: np.random.Generator) -> Shape:
        """Mean and deviation, given or not yet known; the shape stays."""
        if not input_shape or min(input_shape) < 1:
            raise ValueError(f"{self.name}: expected examples of shape (..., channels), got {input_shape}")
        shape = input_shape if self.per == "value" else input_shape[-1:]
        for key, values in (("mean", self.mean), ("deviation", self.deviation)):
            if values is not None and values.shape not in ((), shape):
                raise ValueError(f"{self.name}: {key}: expected a number or shape {shape}, got shape {values.shape}")
            self._add_state(key, shape, partial(np.full, shape, np.nan if values is None else values))
        width = math.prod(shape)
        self._one, self._zero = np.ones(width, self.dtype), np.zeros(width, self.dtype)
        return input_shape

    @property
    def learned(self) -> bool:
        """Whether mean and deviation are known."""
        return self.built and not any(np.isnan(values).any() for values in self.state.values())

    def learn(self, X: Any, weights: Any = None) -> None:
        """Take mean and deviation from data, in one pass and with the memory of a few thousand examples.

        Values that were given to the constructor stay; what was learned before is replaced.

        Parameters
        ----------
        X : array_like of shape (examples, *input_shape)
            Numbers of any real dtype, finite, with at least one example; it may be memory-mapped.
        weights : array_like of shape (examples,), optional
            How much each example counts, 0 or more, and not 0 for all: a whole number counts as so many repetitions.

        Raises
        ------
        RuntimeError
            If the layer is not built.
        TypeError, ValueError
            If `X` or `weights` are not as above; the layer keeps what it had.
        """
        if not self.built:
            raise RuntimeError(f"{self.name}: learn before build; call build(input_shape) first")
        examples = check_numbers(X, self.name)
        check_shape(examples, self.input_shape, self.name)
        counts = None if weights is None else check_weights(weights, len(examples), f"{self.name}: weights")
        length = max(1, CHUNK // max(1, math.prod(self.input_shape)))
        chunks = (slice(start, start + length) for start in range(0, len(examples), length))
        self.learn_batches((examples[rows], None if counts is None else counts[rows]) for rows in chunks)

    def learn_batches(self, batches: Iterable[Any]) -> None:
        """Take mean and deviation from data that come in batches, in one pass over them.

        Parameters
        ----------
        batches : iterable of array_like of shape (batch, *input_shape)
            As in `learn`, with at least one example in all. A pair of such examples and their weights, or None, may
            stand in place of examples.

        Raises
        ------
        RuntimeError, TypeError, ValueError
            As from `learn`; the layer keeps what it had.
        """
        if not self.built:
            raise RuntimeError(f"{self.name}: learn before build; call build(input_shape) first")
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused below
            mean, variance = self._moments(batches)
            deviation = np.sqrt(variance).astype(self.dtype)
            deviation[deviation < np.finfo(self.dtype).tiny] = 1
            learned = {"mean": mean.astype(self.dtype), "deviation": deviation}
        if not all(np.isfinite(values).all() for values in learned.values()):
            raise ValueError(f"{self.name}: expected finite numbers to learn from, got NaN, infinite or huge values")
        for key, values in (("mean", self.mean), ("deviation", self.deviation)):
            if values is not None:
                learned[key] = self.state[key]
        self.state = {key: values.reshape(self.state[key].shape) for key, values in learned.items()}

    def _moments(self, batches: Iterable[Any]) -> tuple[Array, Array]:
        """Mean and variance of each channel or value, in double precision."""
        width = self._one.size
        first, mean, squares, count = np.zeros(width), np.zeros(width), np.zeros(width), 0.0
        for batch in batches:
            chunk, weights = self._checked_chunk(batch)
            if not len(chunk):
                continue
            if not count:
                # Differences from the first position: a channel of equal values has exactly none.
                first = chunk[0].copy()
            chunk -= first
            chunk_mean, chunk_variance, chunk_count = _moments_of(chunk, weights)
            share = chunk_count / (count + chunk_count)
            difference = chunk_mean - mean
            mean += difference * share
            squares += chunk_variance * chunk_count + difference**2 * (count * share)
            count += chunk_count
        if not count:
            raise ValueError(f"{self.name}: expected at least one example to learn from, got none")
        return first + mean, squares / count

    def _checked_chunk(self, batch: Any) -> tuple[Array, Array | None]:
        """A batch as rows of channels or values, in double precision, and the weight of each row."""
        examples, weights = batch if isinstance(batch, tuple) else (batch, None)
        examples = check_numbers(examples, self.name)
        check_shape(examples, self.input_shape, self.name)
        if weights is not None:
            weights = check_weights(weights, len(examples), f"{self.name}: weights", np.float64)
            # What does not count must not keep a channel from being constant either.
            examples, weights = examples[weights > 0], weights[weights > 0]
        rows = examples.astype(np.float64, order="C").reshape(-1, self._one.size)
        return rows, None if weights is None else weights.repeat(math.prod(self.input_shape) // self._one.size)

    def compute(self, x: Array, context: Context) -> Array:
        """(batch, ...) to the same shape."""
        if not self.learned:
            raise RuntimeError(
                f"{self.name}: the mean and deviation are not known; call learn(X) with the training data, or "
                "Model.train, which does so"
            )
        y = context.array("output", len(x))
        state = self.state
        self._scale(x, state["mean"].reshape(-1), state["deviation"], y)
        context.keep(state["deviation"])
        return y

    def backpropagate(self, grad: Array, context: Context) -> Array:
        """(batch, ...) to the same shape."""
        (deviation,) = context.kept()
        out = context.array("input_gradient", len(grad))
        self._scale(grad, self._zero, deviation, out)
        return out

    def _scale(self, x: Array, mean: Array, deviation: Array, out: Array) -> None:
        """(x - mean) / deviation, which is batch normalization without a scale and shift of its own."""
        rows = (x.size // mean.size, mean.size)
        statistics, affine = (mean, 1 / deviation.reshape(-1)), (self._one, self._zero)
        _kernels.batch_norm_forward(x.reshape(rows), statistics, affine, False, out.reshape(rows))


def _moments_of(rows: Array, weights: Array | None) -> tuple[Array, Array, float]:
    """Mean and variance of each column, and the sum of the weights, which are 1 where there are none."""
    if weights is None:
        mean, variance = np.empty_like(rows[0]), np.empty_like(rows[0])
        _kernels.batch_norm_statistics(rows, mean, variance)
        return mean, variance, len(rows)
    count = float(weights.sum())
    mean = weights @ rows / count
    return mean, weights @ (rows - mean) ** 2 / count, count
