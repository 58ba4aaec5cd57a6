"""Which neighbouring layers are computed together. It is decided here, once, when a model is built.

A fused step computes what its layers compute one after the other, bit for bit, with fewer passes over memory; only the
gradients of a convolution and a max pooling are added up in another order. The layers keep their parameters; the steps
hold no state of their own but working arrays.
"""

from typing import ClassVar, TypeGuard, TypeVar

import numpy as np

from cnnx import _kernels
from cnnx._typing import Array
from cnnx.layers.activation import ReluLayer
from cnnx.layers.base import Layer, backward_through, forward_through
from cnnx.layers.convolution import ConvolutionLayer
from cnnx.layers.dense import DenseLayer
from cnnx.layers.depthwise import DepthwiseConvolutionLayer
from cnnx.layers.normalization import BatchNormLayer
from cnnx.layers.pooling import PoolLayer
from cnnx.layers.product import ProductLayer
from cnnx.layers.residual import ResidualLayer
from cnnx.sharing import share

# Places in a window are bytes, and the last value says that ReLU has closed the maximum.
MOST_PLACES = 254

Kind = TypeVar("Kind", bound=Layer)


class FusedStep(Layer):
    """Several layers as one; it stands for them in a model's passes, with the first one's parameters."""

    def __init__(self, *layers: Layer) -> None:
        super().__init__()
        self.layers = layers
        self.name = layers[0].name
        self.dtype = layers[0].dtype
        self.params, self.grads = layers[0].params, layers[0].grads
        self.input_shape, self.output_shape = layers[0].input_shape, layers[-1].output_shape
        self.needs_input_gradient = layers[0].needs_input_gradient
        self.built = True
        self._reserve("output", self.output_shape)
        self._reserve("input_gradient", self.input_shape)


class ProductRelu(FusedStep):
    """ReLU is applied to each block of outputs before it leaves the registers."""

    frees_input: ClassVar[bool] = True

    def __init__(self, layer: ProductLayer, relu: ReluLayer) -> None:
        super().__init__(layer, relu)
        self.layer = layer
        self._reserve("gated", self.output_shape)

    def forward(self, x: Array, training: bool = False) -> Array:
        """(batch, *input_shape) to (batch, *output_shape)."""
        x = self._checked_input(x)
        y = self._array("output", len(x), training)
        self.layer.product(x, training, True, y)
        if training:
            self._cache = (x, y)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(batch, *output_shape) to (batch, *input_shape)."""
        grad, x, y = self._use_up_cache(grad)
        gated = self._array("gated", len(x))
        _kernels.relu_backward(grad, y, gated)
        self.layer.weight_gradient(x, gated)
        if not self.needs_input_gradient:
            return None
        out = self._array("input_gradient", len(x))
        self.layer.input_gradient(gated, out)
        return out


class ConvolutionPool(FusedStep):
    """Convolution, perhaps ReLU, and max pooling: only the pooled outputs and their places are written."""

    reads_output: ClassVar[bool] = False
    frees_input: ClassVar[bool] = True

    def __init__(self, convolution: ConvolutionLayer, relu: ReluLayer | None, pool: PoolLayer) -> None:
        super().__init__(*(layer for layer in (convolution, relu, pool) if layer is not None))
        self.convolution, self.relu = convolution, relu is not None
        rows, columns, _ = convolution.output_shape
        self.window = (convolution.stride, convolution.offset, (rows, columns), pool.filter_size)
        self._reserve("argmax", self.output_shape, np.uint8)

    def forward(self, x: Array, training: bool = False) -> Array:
        """(batch, height, width, channels) to (batch, pooled rows, pooled columns, filters)."""
        x = self._checked_input(x)
        y = self._array("output", len(x), training)
        argmax = self._array("argmax", len(x)) if training else None
        W, b, window = self.params["W"], self.params["b"], self.window
        _kernels.convolution_pool_forward(x, W, b, *window, self.relu, y, argmax, self.convolution.prepared)
        if training:
            self._cache = (x, argmax)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(batch, pooled rows, pooled columns, filters) to (batch, height, width, channels)."""
        grad, x, argmax = self._use_up_cache(grad)
        _kernels.convolution_pool_weight_gradient(x, grad, argmax, *self.window, self.grads["W"], self.grads["b"])
        if not self.needs_input_gradient:
            return None
        out = self._array("input_gradient", len(x))
        _kernels.convolution_pool_input_gradient(grad, argmax, self.params["W"], *self.window, out)
        return out


class BatchNormRelu(FusedStep):
    """ReLU is applied as each value is normalised; backward finds out again which values it has closed."""

    reads_output: ClassVar[bool] = False
    overwrites_input: ClassVar[bool] = True
    recomputes: ClassVar[bool] = True

    def __init__(self, normalization: BatchNormLayer, relu: ReluLayer) -> None:
        super().__init__(normalization, relu)
        self.normalization = normalization

    def forward(self, x: Array, training: bool = False) -> Array:
        """(batch, ..., channels) to the same shape."""
        x = self._checked_input(x)
        y = self._array("output", len(x), training)
        mean, inv_std = self.normalization.normalize(x, training, True, y)
        if training:
            self._cache = (x, mean, inv_std)
        return y

    def recompute(self) -> None:
        """ReLU of the normalized values, from what `forward` has kept."""
        if self._cache is not None:
            x, mean, inv_std = self._cache
            self.normalization.apply(x, mean, inv_std, True, self._array("output", len(x)))

    def backward(self, grad: Array) -> Array | None:
        """(batch, ..., channels) to the same shape."""
        grad, x, mean, inv_std = self._use_up_cache(grad)
        out = self._array("input_gradient", len(x)) if self.needs_input_gradient else None
        self.normalization.normalize_backward(grad, x, mean, inv_std, True, out)
        return out


class Residual(FusedStep):
    """A residual block with both ways fused; ReLU is applied in the pass that adds them."""

    def __init__(self, block: ResidualLayer, relu: ReluLayer | None) -> None:
        super().__init__(*(layer for layer in (block, relu) if layer is not None))
        self.relu = relu is not None
        self.through, self.past = fuse(block.layers), fuse(block.shortcut)
        self.sublayers = {str(index): step for index, step in enumerate((*self.through, *self.past))}
        self.shared_arrays = [*share(self.through), *share(self.past)]
        if self.relu:
            self._reserve("gated", self.output_shape)

    def forward(self, x: Array, training: bool = False) -> Array:
        """(batch, ...) to (batch, ...)."""
        x = self._checked_input(x)
        through, past = forward_through(self.through, x, training), forward_through(self.past, x, training)
        y = self._array("output", len(x), training)
        _kernels.add(through, past, self.relu, y)
        if training:
            self._cache = (y,)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(batch, ...) to (batch, ...)."""
        grad, y = self._use_up_cache(grad)
        if self.relu:
            gated = self._array("gated", len(y))
            _kernels.relu_backward(grad, y, gated)
            grad = gated
        through, past = backward_through(self.through, grad), backward_through(self.past, grad)
        if through is None or past is None or not self.needs_input_gradient:
            return None
        out = self._array("input_gradient", len(y))
        _kernels.add(through, past, False, out)
        return out

    def array_bytes(self, batch_size: int) -> int:
        """With what the steps inside share."""
        shared = sum(array.bytes_per_example for array in self.shared_arrays)
        return super().array_bytes(batch_size) + batch_size * shared


def fuse(layers: list[Layer]) -> list[Layer]:
    """The steps of a model's passes: its layers, those that can be computed together as one."""
    steps: list[Layer] = []
    rest = list(layers)
    while rest:
        layer = rest.pop(0)
        step = layer
        if isinstance(layer, ConvolutionLayer) and layer.groups == 1 and not layer.depthwise:
            relu = _take(rest, ReluLayer)
            # The kernels that pool have no dilation.
            pool = _take(rest, PoolLayer) if layer.dilation == (1, 1) and _pools_whole_windows(rest) else None
            if pool is not None:
                step = ConvolutionPool(layer, relu, pool)
            elif relu is not None:
                step = ProductRelu(layer, relu)
        elif isinstance(layer, DenseLayer) or _is_depthwise(layer):
            if (relu := _take(rest, ReluLayer)) is not None:
                step = ProductRelu(layer, relu)
        elif isinstance(layer, BatchNormLayer):
            if (relu := _take(rest, ReluLayer)) is not None:
                step = BatchNormRelu(layer, relu)
        elif isinstance(layer, ResidualLayer):
            step = Residual(layer, _take(rest, ReluLayer))
        steps.append(step)
    return steps


def _take(rest: list[Layer], kind: type[Kind]) -> Kind | None:
    """The next layer, taken from the rest, if it is of a kind."""
    if rest and isinstance(rest[0], kind):
        layer = rest[0]
        del rest[0]
        return layer
    return None


def _is_depthwise(layer: Layer) -> TypeGuard[ConvolutionLayer | DepthwiseConvolutionLayer]:
    """Whether depthwise kernels compute it; they have no pooling of their own."""
    return isinstance(layer, DepthwiseConvolutionLayer) or (isinstance(layer, ConvolutionLayer) and layer.depthwise)


def _pools_whole_windows(rest: list[Layer]) -> bool:
    """Whether max pooling is next, of windows of several pixels that neither overlap nor reach into padding."""
    layer = rest[0] if rest else None
    return (
        isinstance(layer, PoolLayer)
        and layer.mode == "max"
        and layer.stride == layer.filter_size
        and layer.fits
        and 1 < layer.filter_size[0] * layer.filter_size[1] <= MOST_PLACES
    )
