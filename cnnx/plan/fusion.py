"""Which neighbouring layers are computed together. It is decided here, once, when a plan is made."""

from __future__ import annotations

from collections.abc import Sequence

from cnnx import _kernels
from cnnx._typing import Array
from cnnx.layers import LAYERS
from cnnx.layers.activation import ReluLayer
from cnnx.layers.base import Layer
from cnnx.layers.residual import ResidualLayer
from cnnx.memory.arrays import Reservation
from cnnx.memory.uses import Uses
from cnnx.plan.fused import (
    BatchNormPool,
    BatchNormRelu,
    ConvolutionPool,
    ConvolutionWindows,
    FusedPass,
    ProductRelu,
    are,
    behind_relu,
)
from cnnx.plan.passes import Chain, Pass, pass_of


class Residual(FusedPass):
    """A residual block with both ways fused, and perhaps ReLU, which is applied in the pass that adds them."""

    def __init__(self, layers: Sequence[Layer], training: bool) -> None:
        self.relu = len(layers) == 2
        super().__init__(layers, training)
        block = layers[0]
        assert isinstance(block, ResidualLayer)
        self.ways = tuple(Chain(fuse(way, training)) for way in (block.layers, block.shortcut))
        # What the ways read, their passes say.
        self.uses = Uses(input=False, output=self.relu)

    @staticmethod
    def match(layers: Sequence[Layer]) -> int:
        """A residual block, with or without ReLU."""
        return 2 if are(layers, ResidualLayer, ReluLayer) else int(are(layers, ResidualLayer))

    def reserve(self) -> dict[str, Reservation]:
        """With the gradient behind ReLU."""
        reserved = super().reserve()
        return {**reserved, **behind_relu(reserved["output"])} if self.relu else reserved

    def forward(self, x: Array) -> Array:
        """(batch, ...) to (batch, ...)."""
        through, past = (way.forward(x) for way in self.ways)
        y = self.array("output", len(x))
        _kernels.add(through, past, self.relu, y)
        self.keep(y)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(batch, ...) to (batch, ...)."""
        (y,) = self.kept()
        if self.relu:
            gated = self.array("gated", len(grad))
            _kernels.relu_backward(grad, y, gated)
            grad = gated
        through, past = (way.backward(grad) for way in self.ways)
        if not self.wants_gradient:
            return None
        out = self.array("input_gradient", len(grad))
        _kernels.add(through, past, False, out)
        return out


# Layers that a fusion takes, at most.
LONGEST = 3
# In this order: the first that matches takes its layers.
FUSIONS: tuple[type[FusedPass], ...] = (ConvolutionPool, ProductRelu, BatchNormPool, BatchNormRelu, Residual)
IN_INFERENCE: tuple[type[FusedPass], ...] = (ConvolutionPool, ConvolutionWindows, *FUSIONS[1:])


def fuse(layers: Sequence[Layer], training: bool) -> list[Pass]:
    """The passes of layers in a row: those that can be computed together as one, the others by themselves.

    Those that do nothing in inference have no pass there.
    """
    passes: list[Pass] = []
    done = 0
    fusions = FUSIONS if training else IN_INFERENCE
    if not training:
        layers = [layer for layer in layers if not (layer.uses.training_only and type(layer) in LAYERS.values())]
    while done < len(layers):
        rest = layers[done : done + LONGEST]
        count, kind = next(((n, kind) for kind in fusions if (n := kind.match(rest))), (1, None))
        passes.append(pass_of(rest[0], training) if kind is None else kind(rest[:count], training))
        done += count
    return passes
