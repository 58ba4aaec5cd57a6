"""Passes of several layers that are computed together: bit for bit what these compute one after the other.

They take fewer passes over memory. The one exception: gradients behind a max pooling are summed over the pixels that
have one, where a convolution by itself sums over all of them, perhaps by Winograd's products; they round differently.
Each class says with `match` which layers it takes; `fusion.py` has the list.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from cnnx import _kernels
from cnnx._typing import Array
from cnnx.layers.activation import ReluLayer
from cnnx.layers.base import Layer
from cnnx.layers.convolution import ConvolutionLayer
from cnnx.layers.dense import DenseLayer
from cnnx.layers.depthwise import DepthwiseConvolutionLayer
from cnnx.layers.normalization import BatchNormLayer
from cnnx.layers.pooling import GlobalPoolLayer, PoolLayer
from cnnx.layers.product import ProductLayer
from cnnx.memory.arrays import Reservation
from cnnx.plan.passes import Pass


class FusedPass(Pass):
    """Several layers as one."""

    @staticmethod
    def match(layers: Sequence[Layer]) -> int:
        """How many layers, from the first one on, are computed together; 0 for none."""
        raise NotImplementedError


def are(layers: Sequence[Layer], *kinds: type[Layer]) -> bool:
    """Whether layers begin with these classes; not with subclasses, which may compute something else."""
    return len(layers) >= len(kinds) and all(type(a) is b for a, b in zip(layers, kinds, strict=False))


def behind_relu(output: Reservation) -> dict[str, Reservation]:
    """That of the gradient behind ReLU, which takes the place of the output's."""
    return {"gated": output._replace(backward_only=True, over_gradient=True)}


class ProductRelu(FusedPass):
    """A product and ReLU, which is applied to each block of outputs before it leaves the registers."""

    @staticmethod
    def match(layers: Sequence[Layer]) -> int:
        """A dense layer or a convolution, and ReLU."""
        products = (ConvolutionLayer, DenseLayer, DepthwiseConvolutionLayer)
        return 2 if any(are(layers, kind, ReluLayer) for kind in products) else 0

    def reserve(self) -> dict[str, Reservation]:
        """With the gradient behind ReLU."""
        reserved = super().reserve()
        return {**reserved, **behind_relu(reserved["output"])}

    def forward(self, x: Array) -> Array:
        """(batch, *input_shape) to (batch, *output_shape)."""
        product = cast(ProductLayer, self.layers[0])
        y = self.array("output", len(x))
        product.product(x, True, y, self.prepared)
        self.keep(x, y)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(batch, *output_shape) to (batch, *input_shape)."""
        x, y = self.kept()
        gated = self.array("gated", len(x))
        _kernels.relu_backward(grad, y, gated)
        return cast(ProductLayer, self.layers[0]).gradients(x, gated, self)


def before_pooling(layers: Sequence[Layer]) -> int:
    """How many layers there are up to a max pooling that kernels can add to the first one; 0 for none.

    ReLU may stand before it. Its windows have several pixels, and neither overlap nor reach into padding.
    """
    count = 3 if len(layers) > 1 and type(layers[1]) is ReluLayer else 2
    pool = layers[count - 1] if len(layers) >= count else None
    fits = (
        type(pool) is PoolLayer
        and pool.mode == "max"
        and pool.stride == pool.filter_size
        and pool.fits
        and 1 < pool.filter_size[0] * pool.filter_size[1] < _kernels.CLOSED
    )
    return count if fits else 0


class ConvolutionPool(FusedPass):
    """Convolution, perhaps ReLU, and max pooling: only the pooled outputs and their places are written."""

    def __init__(self, layers: Sequence[Layer], training: bool) -> None:
        super().__init__(layers, training)
        convolution, pool = cast(ConvolutionLayer, layers[0]), cast(PoolLayer, layers[-1])
        rows, columns, _ = convolution.output_shape
        self.relu = len(layers) == 3
        self.window = (*convolution.window[:2], (rows, columns), pool.filter_size)

    @staticmethod
    def match(layers: Sequence[Layer]) -> int:
        """Max pooling of windows of several pixels that neither overlap nor reach into padding."""
        first = layers[0]
        fits = (
            type(first) is ConvolutionLayer
            and first.groups == 1
            and first.dilation == (1, 1)  # the kernels that pool have no other
        )
        return before_pooling(layers) if fits else 0

    def reserve(self) -> dict[str, Reservation]:
        """With the places of the maxima."""
        reserved = super().reserve()
        return {**reserved, "argmax": reserved["output"]._replace(dtype=np.dtype(np.uint8))}

    def forward(self, x: Array) -> Array:
        """(batch, height, width, channels) to (batch, pooled rows, pooled columns, filters)."""
        params = self.layers[0].params
        y = self.array("output", len(x))
        argmax = self.array("argmax", len(x)) if self.keeps else None
        _kernels.convolution_pool_forward(x, params["W"], params["b"], self.window, self.relu, y, argmax, self.prepared)
        self.keep(x, argmax)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(batch, pooled rows, pooled columns, filters) to (batch, height, width, channels)."""
        x, argmax = self.kept()
        params, grads = self.layers[0].params, self.layers[0].grads
        _kernels.convolution_pool_weight_gradient(x, grad, argmax, self.window, grads["W"], grads["b"])
        if not self.wants_gradient:
            return None
        out = self.array("input_gradient", len(x))
        _kernels.convolution_pool_input_gradient(grad, argmax, params["W"], self.window, out)
        return out


class ConvolutionWindows(FusedPass):
    """In inference, convolution, perhaps ReLU, and pooling of any other windows: only what is pooled is written."""

    def __init__(self, layers: Sequence[Layer], training: bool) -> None:
        super().__init__(layers, training)
        convolution, pool = cast(ConvolutionLayer, layers[0]), cast(PoolLayer | GlobalPoolLayer, layers[-1])
        self.relu, self.averages, self.pooled_shape = len(layers) == 3, pool.mode == "average", pool.pooled_shape
        rows, columns, _ = convolution.output_shape
        self.window, self.pooling = convolution.window, ((rows, columns), *pool.windows)

    @staticmethod
    def match(layers: Sequence[Layer]) -> int:
        """A convolution of one group, perhaps ReLU, and pooling."""
        count = 3 if len(layers) > 1 and type(layers[1]) is ReluLayer else 2
        pool, first = layers[count - 1] if len(layers) >= count else None, layers[0]
        fits = type(first) is ConvolutionLayer and first.groups == 1 and not first.depthwise
        return count if fits and type(pool) in (PoolLayer, GlobalPoolLayer) else 0

    def forward(self, x: Array) -> Array:
        """(batch, height, width, channels) to the pooling's output."""
        params, y = self.layers[0].params, self.array("output", len(x))
        forward = _kernels.convolution_average_forward if self.averages else _kernels.convolution_max_forward
        pooled = y.reshape(len(x), *self.pooled_shape)
        forward(x, params["W"], params["b"], self.window, self.relu, self.pooling, pooled, self.prepared)
        return y


class BatchNormRelu(FusedPass):
    """ReLU is applied as each value is normalised; backward finds out again which values it has closed."""

    def __init__(self, layers: Sequence[Layer], training: bool) -> None:
        super().__init__(layers, training)
        self.normalization = cast(BatchNormLayer, layers[0])
        self.uses = self.normalization.uses

    @staticmethod
    def match(layers: Sequence[Layer]) -> int:
        """Batch normalization and ReLU."""
        return 2 if are(layers, BatchNormLayer, ReluLayer) else 0

    def forward(self, x: Array) -> Array:
        """(batch, ..., channels) to the same shape."""
        return self.normalization.normalize(x, True, self)

    def recompute(self) -> None:
        """ReLU of the normalized values, from what `forward` has kept."""
        self.normalization.normalize_again(True, self)

    def backward(self, grad: Array) -> Array | None:
        """(batch, ..., channels) to the same shape."""
        return self.normalization.gradients(grad, True, self)


class BatchNormPool(FusedPass):
    """Batch normalization, perhaps ReLU, and max pooling: only the pooled outputs and their places are written."""

    def __init__(self, layers: Sequence[Layer], training: bool) -> None:
        super().__init__(layers, training)
        self.normalization = cast(BatchNormLayer, layers[0])
        self.filter_size = cast(PoolLayer, layers[-1]).filter_size
        self.relu = len(layers) == 3
        self.uses = self.uses._replace(recomputed=False)

    @staticmethod
    def match(layers: Sequence[Layer]) -> int:
        """Max pooling of windows of several pixels that neither overlap nor reach into padding."""
        return before_pooling(layers) if type(layers[0]) is BatchNormLayer else 0

    def reserve(self) -> dict[str, Reservation]:
        """With the places of the maxima."""
        reserved = super().reserve()
        return {**reserved, "argmax": reserved["output"]._replace(dtype=np.dtype(np.uint8))}

    def forward(self, x: Array) -> Array:
        """(batch, height, width, channels) to (batch, pooled rows, pooled columns, channels)."""
        statistics = self.normalization.statistics(x, self)
        y = self.array("output", len(x))
        argmax = self.array("argmax", len(x)) if self.keeps else None
        _kernels.batch_norm_pool_forward(
            x, statistics, self.normalization.affine, self.filter_size, self.relu, y, argmax
        )
        self.keep(x, argmax, *statistics)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(batch, pooled rows, pooled columns, channels) to (batch, height, width, channels)."""
        x, argmax, *statistics = self.kept()
        pooled = (grad, argmax, x, tuple(statistics), self.normalization.affine, self.filter_size)
        grads = self.normalization.grads["gamma"], self.normalization.grads["beta"]
        _kernels.batch_norm_pool_parameter_gradient(*pooled, *grads)
        if not self.wants_gradient:
            return None
        out = self.array("input_gradient", len(x))
        _kernels.batch_norm_pool_input_gradient(*pooled, grads, out)
        return out
