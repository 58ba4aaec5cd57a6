"""Dropout: in training each value is dropped with probability `rate`, and the others make up for it.

    y = x * m        dL/dx = g * m        with m = 0 for the share `rate` of all values, else 1 / (1 - rate)

and g = dL/dy. Values keep their expectation, so that inference leaves x as it is ("inverted" dropout). Spatial dropout
draws one m for each channel of an image: neighbouring pixels are too much alike for the loss of one to matter.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from cnnx import _kernels
from cnnx._typing import Array, Seed, Shape
from cnnx.checks.arguments import check_share
from cnnx.checks.geometry import check_image_shape
from cnnx.layers.base import Layer
from cnnx.memory.context import Context
from cnnx.memory.uses import Uses

# Random bits are compared with the rate 16 at a time: four values for each draw of the generator.
LEVELS = 2**16


class DropoutLayer(Layer):
    """Drop values at random in training; (batch, ...) to the same shape. In inference the output is the input itself.

    Parameters
    ----------
    rate : float
        Probability that a value is dropped, in [0, 1); it is rounded to a multiple of 1/65536, and values are scaled by
        what is really kept.
    seed : int, numpy.random.Generator or None
        Where the choice of values comes from; by default from the seed of `build`. It is no part of `config`.

    Raises
    ------
    TypeError, ValueError
        If `rate` is not as above.

    Notes
    -----
    Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, "Dropout: A Simple Way to Prevent Neural Networks from
    Overfitting", JMLR 15, 2014, section 10 for the scaling in training.
    """

    uses: ClassVar[Uses] = Uses(input=False, output=False, training_only=True)

    def __init__(self, rate: float, seed: Seed = None) -> None:
        super().__init__()
        self.rate = check_share(rate, f"{self.name}: rate")
        self.seed = seed
        self._dropped = min(round(self.rate * LEVELS), LEVELS - 1)

    def create(self, input_shape: Shape, rng: np.random.Generator) -> Shape:
        """No parameters; the shape stays."""
        # Drawn in any case, so that the weights of later layers do not depend on where this seed comes from.
        derived = int(rng.integers(2**63))
        self.rng = np.random.default_rng(derived if self.seed is None else self.seed)
        return input_shape

    def compute(self, x: Array, context: Context) -> Array:
        """(batch, ...) to the same shape."""
        if not context.training:
            return x
        bits = self.draw(len(x))
        context.keep(bits)
        y = context.array("output", len(x))
        self.drop(x, bits, y)
        return y

    def backpropagate(self, grad: Array, context: Context) -> Array:
        """(batch, ...) to the same shape."""
        (bits,) = context.kept()
        out = context.array("input_gradient", len(grad))
        self.drop(grad, bits, out)
        return out

    def draw(self, batch: int) -> Array:
        """16 random bits for each value."""
        return self._bits(batch * math.prod(self.input_shape))

    def drop(self, values: Array, bits: Array, out: Array) -> None:
        """out = values * m."""
        _kernels.dropout(values, bits, self._dropped, out)

    def _bits(self, choices: int) -> Array:
        assert self.rng is not None  # made by create
        return self.rng.integers(2**64, size=-(-choices // 4), dtype=np.uint64).view(np.uint16)[:choices]


class SpatialDropoutLayer(DropoutLayer):
    """Drop whole channels of images at random in training; in inference the output is the input itself.

    (batch, height, width, channels) to the same shape. For each example every channel is dropped or kept by itself.

    Parameters
    ----------
    rate : float
        Probability that a channel is dropped, in [0, 1); it is rounded to a multiple of 1/65536, and values are scaled
        by what is really kept.
    seed : int, numpy.random.Generator or None
        Where the choice of channels comes from; by default from the seed of `build`. It is no part of `config`.

    Raises
    ------
    TypeError, ValueError
        If `rate` is not as above; from `build`, if examples are not images.

    Notes
    -----
    Tompson, Goroshin, Jain, LeCun, Bregler, "Efficient Object Localization Using Convolutional Networks", CVPR 2015,
    section 3.2.
    """

    def create(self, input_shape: Shape, rng: np.random.Generator) -> Shape:
        """No parameters; the shape stays."""
        check_image_shape(input_shape, self.name)
        return super().create(input_shape, rng)

    def draw(self, batch: int) -> Array:
        """16 random bits for each channel of each example, (batch, channels)."""
        channels = self.input_shape[-1]
        return self._bits(batch * channels).reshape(batch, channels)

    def drop(self, values: Array, bits: Array, out: Array) -> None:
        """out = values * m, with one m for each channel."""
        _kernels.spatial_dropout(values, bits, self._dropped, out)
