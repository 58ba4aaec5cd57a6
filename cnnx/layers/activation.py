"""Activations: y = f(x), element by element.

    ReLU          y = max(0, x)                           dL/dx = g where x > 0, else 0
    leaky ReLU    y = x where x > 0, else slope * x       dL/dx = g where x > 0, else slope * g
    PReLU         the same, with a learned slope a_c      dL/da_c = sum of g * x over all x <= 0 of channel c
    ELU           y = x where x > 0,                      dL/dx = g where x > 0,
                  else alpha * (exp(x) - 1)                       else (y + alpha) * g
    SELU          y = scale * ELU(x)                      dL/dx = scale * g where x > 0, else (y + scale * alpha) * g
    GELU          y = x * Phi(x)                          dL/dx = (Phi(x) + x * phi(x)) * g
    SiLU          y = x * s, s = 1 / (1 + exp(-x))        dL/dx = s * (1 + x * (1 - s)) * g
    tanh          y = tanh(x)                             dL/dx = (1 - y^2) * g
    softplus      y = log(1 + exp(x))                     dL/dx = (1 - exp(-y)) * g
    hard swish    y = x * min(max(0, x + 3), 6) / 6       dL/dx = (2x + 3) / 6 * g where -3 < x < 3,
                                                                  0 below, g above

with g = dL/dy, and Phi and phi the distribution function and the density of the standard normal distribution. The
deck's "ReLU Acts as a Differentiable Gate"; at 0 the gradient of ReLU is 0. Each layer keeps for the backward pass the
one array that its gradient is made from: its output y where that will do, else its input x.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from cnnx import _kernels
from cnnx._typing import Array, Shape
from cnnx.checks.arguments import check_positive
from cnnx.layers.base import Layer
from cnnx.memory.context import Context
from cnnx.memory.uses import Uses


class ActivationLayer(Layer):
    """An activation without parameters, for examples of any shape; NaN stays NaN.

    A subclass says what it keeps for the backward pass, and fills `out` in `apply` and `apply_backward`.
    """

    # The output, unless a subclass says that it is the input.
    uses: ClassVar[Uses] = Uses(input=False)

    def create(self, input_shape: Shape, rng: np.random.Generator) -> Shape:
        """No parameters; the shape stays."""
        return input_shape

    def compute(self, x: Array, context: Context) -> Array:
        """(batch, ...) to the same shape."""
        y = context.array("output", len(x))
        self.apply(x, y)
        context.keep(x if self.uses.input else y)
        return y

    def backpropagate(self, grad: Array, context: Context) -> Array | None:
        """(batch, ...) to the same shape."""
        (kept,) = context.kept()
        out = context.array("input_gradient", len(kept))
        self.apply_backward(grad, kept, out)
        return out

    def apply(self, x: Array, out: Array) -> None:
        """out = f(x)."""
        raise NotImplementedError

    def apply_backward(self, grad: Array, kept: Array, out: Array) -> None:
        """out = f'(x) * grad, from what the layer keeps."""
        raise NotImplementedError


class ReluLayer(ActivationLayer):
    """Rectified linear unit, max(0, x), for examples of any shape; NaN stays NaN.

    Notes
    -----
    Nair, Hinton, "Rectified Linear Units Improve Restricted Boltzmann Machines", ICML 2010.
    """

    preferred_initializer: ClassVar[str | None] = "he_normal"

    def apply(self, x: Array, out: Array) -> None:
        """max(0, x)."""
        _kernels.relu_forward(x, out)

    def apply_backward(self, grad: Array, kept: Array, out: Array) -> None:
        """grad where y > 0, else 0."""
        _kernels.relu_backward(grad, kept, out)


class LeakyReluLayer(ActivationLayer):
    """Leaky ReLU: x where x > 0, else slope * x, for examples of any shape; NaN stays NaN.

    Parameters
    ----------
    slope : float, default 0.01
        Slope below zero, above 0.

    Raises
    ------
    TypeError, ValueError
        If `slope` is not as above.

    Notes
    -----
    Maas, Hannun, Ng, "Rectifier Nonlinearities Improve Neural Network Acoustic Models", ICML 2013.
    """

    preferred_initializer: ClassVar[str | None] = "he_normal"

    def __init__(self, slope: float = 0.01) -> None:
        super().__init__()
        self.slope = check_positive(slope, f"{self.name}: slope")

    def apply(self, x: Array, out: Array) -> None:
        """x where x > 0, else slope * x."""
        _kernels.leaky_relu_forward(x, self.slope, out)

    def apply_backward(self, grad: Array, kept: Array, out: Array) -> None:
        """grad where y > 0, which has the sign of x, else slope * grad."""
        _kernels.leaky_relu_backward(grad, kept, self.slope, out)


class PReluLayer(Layer):
    """Parametric ReLU: x where x > 0, else slope * x, with a learned slope for each channel; NaN stays NaN.

    (batch, ..., channels) to the same shape. Examples are images (height, width, channels), or vectors (features,),
    where each feature is a channel.

    Parameters
    ----------
    slope : float, default 0.25
        Each slope's starting value, above 0.

    Raises
    ------
    TypeError, ValueError
        If `slope` is not as above; from `build`, if examples have no channels.

    Notes
    -----
    ``params["slope"]`` is (channels,). Training may move a slope to any value, below zero too.

    He, Zhang, Ren, Sun, "Delving Deep into Rectifiers", ICCV 2015, section 2.1; they let no weight decay act on slopes.
    """

    preferred_initializer: ClassVar[str | None] = "he_normal"

    def __init__(self, slope: float = 0.25) -> None:
        super().__init__()
        self.slope = check_positive(slope, f"{self.name}: slope")

    def create(self, input_shape: Shape, rng: np.random.Generator) -> Shape:
        """Slopes (channels,); the shape stays."""
        if len(input_shape) < 1 or min(input_shape) < 1:
            raise ValueError(f"{self.name}: expected examples of shape (..., channels), got {input_shape}")
        channels = input_shape[-1:]
        self._add_parameter("slope", channels, lambda: np.full(channels, self.slope))
        return input_shape

    def compute(self, x: Array, context: Context) -> Array:
        """(batch, ..., channels) to the same shape."""
        y = context.array("output", len(x))
        _kernels.prelu_forward(x, self.params["slope"], y)
        context.keep(x)
        return y

    def backpropagate(self, grad: Array, context: Context) -> Array | None:
        """(batch, ..., channels) to the same shape."""
        (x,) = context.kept()
        out = context.array("input_gradient", len(x)) if context.wants_gradient else None
        _kernels.prelu_backward(grad, x, self.params["slope"], self.grads["slope"], out)
        return out


class EluLayer(ActivationLayer):
    """Exponential linear unit: x where x > 0, else alpha * (exp(x) - 1), for examples of any shape; NaN stays NaN.

    Parameters
    ----------
    alpha : float, default 1.0
        The output far below zero is -alpha; above 0.

    Raises
    ------
    TypeError, ValueError
        If `alpha` is not as above.

    Notes
    -----
    Clevert, Unterthiner, Hochreiter, "Fast and Accurate Deep Network Learning by Exponential Linear Units (ELUs)",
    ICLR 2016; they start from He's weights.
    """

    preferred_initializer: ClassVar[str | None] = "he_normal"

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = check_positive(alpha, f"{self.name}: alpha")

    def apply(self, x: Array, out: Array) -> None:
        """x where x > 0, else alpha * (exp(x) - 1)."""
        _kernels.elu_forward(x, self.alpha, 1.0, out)

    def apply_backward(self, grad: Array, kept: Array, out: Array) -> None:
        """grad where y > 0, else (y + alpha) * grad."""
        _kernels.elu_backward(grad, kept, self.alpha, 1.0, out)


# Chosen so that mean 0 and variance 1 of what a layer takes in are those of what it gives on.
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


class SeluLayer(ActivationLayer):
    """Scaled exponential linear unit, scale * ELU(x), for examples of any shape; NaN stays NaN.

    It keeps activations near mean 0 and variance 1 where weights start from 'lecun_normal', as they do in a `Model`.

    Notes
    -----
    Klambauer, Unterthiner, Mayr, Hochreiter, "Self-Normalizing Neural Networks", NIPS 2017, eq. 2 and 14.
    """

    preferred_initializer: ClassVar[str | None] = "lecun_normal"

    def apply(self, x: Array, out: Array) -> None:
        """scale * (x where x > 0, else alpha * (exp(x) - 1))."""
        _kernels.elu_forward(x, SELU_ALPHA, SELU_SCALE, out)

    def apply_backward(self, grad: Array, kept: Array, out: Array) -> None:
        """scale * grad where y > 0, else (y + scale * alpha) * grad."""
        _kernels.elu_backward(grad, kept, SELU_ALPHA, SELU_SCALE, out)


class GeluLayer(ActivationLayer):
    """Gaussian error linear unit, x * (1 + erf(x / sqrt(2))) / 2, for examples of any shape; NaN stays NaN.

    Notes
    -----
    The exact form, not the one with tanh. Hendrycks, Gimpel, "Gaussian Error Linear Units (GELUs)", arXiv:1606.08415.
    """

    # Like ReLU it passes about half of what comes in.
    preferred_initializer: ClassVar[str | None] = "he_normal"
    uses: ClassVar[Uses] = Uses(output=False)

    def apply(self, x: Array, out: Array) -> None:
        """x * Phi(x)."""
        _kernels.gelu_forward(x, out)

    def apply_backward(self, grad: Array, kept: Array, out: Array) -> None:
        """(Phi(x) + x * phi(x)) * grad."""
        _kernels.gelu_backward(grad, kept, out)


class SiluLayer(ActivationLayer):
    """Sigmoid linear unit or swish, x / (1 + exp(-x)), for examples of any shape; NaN stays NaN.

    Notes
    -----
    Elfwing, Uchibe, Doya, "Sigmoid-Weighted Linear Units for Neural Network Function Approximation in Reinforcement
    Learning", Neural Networks 107, 2018.
    """

    # Like ReLU it passes about half of what comes in.
    preferred_initializer: ClassVar[str | None] = "he_normal"
    uses: ClassVar[Uses] = Uses(output=False)

    def apply(self, x: Array, out: Array) -> None:
        """x * sigmoid(x)."""
        _kernels.silu_forward(x, out)

    def apply_backward(self, grad: Array, kept: Array, out: Array) -> None:
        """s * (1 + x * (1 - s)) * grad, with s = sigmoid(x)."""
        _kernels.silu_backward(grad, kept, out)


class TanhLayer(ActivationLayer):
    """Hyperbolic tangent, for examples of any shape; NaN stays NaN.

    Notes
    -----
    LeCun, Bottou, Orr, Müller, "Efficient BackProp", 1998, section 4.4.
    """

    preferred_initializer: ClassVar[str | None] = "glorot_uniform"

    def apply(self, x: Array, out: Array) -> None:
        """tanh(x)."""
        _kernels.tanh_forward(x, out)

    def apply_backward(self, grad: Array, kept: Array, out: Array) -> None:
        """(1 - y^2) * grad."""
        _kernels.tanh_backward(grad, kept, out)


class SoftplusLayer(ActivationLayer):
    """Softplus, log(1 + exp(x)), for examples of any shape; NaN stays NaN.

    Notes
    -----
    Dugas, Bengio, Bélisle, Nadeau, Garcia, "Incorporating Second-Order Functional Knowledge for Better Option Pricing",
    NIPS 2000.
    """

    preferred_initializer: ClassVar[str | None] = "glorot_uniform"

    def apply(self, x: Array, out: Array) -> None:
        """log(1 + exp(x))."""
        _kernels.softplus_forward(x, out)

    def apply_backward(self, grad: Array, kept: Array, out: Array) -> None:
        """(1 - exp(-y)) * grad, which is sigmoid(x) * grad."""
        _kernels.softplus_backward(grad, kept, out)


class HardSwishLayer(ActivationLayer):
    """Hard swish, x * min(max(0, x + 3), 6) / 6, for examples of any shape; NaN stays NaN.

    Notes
    -----
    Howard et al., "Searching for MobileNetV3", ICCV 2019, section 5.2. At the kinks the gradient is that of the
    straight side: 0 at -3, 1 at 3.
    """

    # Like ReLU it passes about half of what comes in.
    preferred_initializer: ClassVar[str | None] = "he_normal"
    uses: ClassVar[Uses] = Uses(output=False)

    def apply(self, x: Array, out: Array) -> None:
        """0 up to -3, x from 3 on, a parabola between them."""
        _kernels.hard_swish_forward(x, out)

    def apply_backward(self, grad: Array, kept: Array, out: Array) -> None:
        """0 up to -3, grad from 3 on, (2x + 3) / 6 * grad between them."""
        _kernels.hard_swish_backward(grad, kept, out)
