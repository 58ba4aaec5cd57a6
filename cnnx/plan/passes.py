"""A pass: the unit of work that a plan runs, forward and backward. Passes are not layers: they have layers.

A pass is also what its layers are given: their working memory, and their cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from cnnx._typing import Array
from cnnx.layers.base import Layer
from cnnx.memory.arrays import Arrays, Reservation
from cnnx.memory.context import FRESH, Context


class Pass(Context):
    """One or more layers in a row, computed as one.

    What its arrays are used for follows from its layers: it reads the input that its first layer reads, and the output
    that its last one does.

    Attributes
    ----------
    layers : tuple of Layer
    uses : Uses
    ways : tuple of Chain
        The passes inside a pass that holds others; empty for most.
    below : Pass or None
        The pass whose output is to be computed again before this one goes backward.
    starts, returns : int
        Its moments in a step, forward and backward.
    """

    def __init__(self, layers: Sequence[Layer], training: bool) -> None:
        first, last = layers[0], layers[-1]
        self.layers = tuple(layers)
        self.uses = first.uses._replace(output=last.uses.output)
        self.ways: tuple[Chain, ...] = ()
        self.below: Pass | None = None
        self.starts, self.returns = 0, 0
        super().__init__(first.name, self.reserve(), FRESH, training)

    @property
    def kind(self) -> str:
        """What the pass is called in tables."""
        return type(self).__name__

    def reserve(self) -> dict[str, Reservation]:
        """The working arrays: those of the first layer, and the last one's output."""
        first, last = self.layers[0], self.layers[-1]
        return {**first.reserved, "output": last.reserved["output"]}

    @property
    def has_parameters(self) -> bool:
        """Whether there are gradients to fill."""
        return any(layer.params for layer in self.layers)

    def forward(self, x: Array) -> Array:
        """(batch, ...) to (batch, ...)."""
        raise NotImplementedError

    def backward(self, grad: Array) -> Array | None:
        """(batch, ...) to (batch, ...), or None where nobody wants it."""
        raise NotImplementedError

    def recompute(self) -> None:
        """Write the output of the last `forward` again, where `uses` says that it can be."""
        raise NotImplementedError


class LayerPass(Pass):
    """A layer by itself."""

    @property
    def kind(self) -> str:
        """The layer's class."""
        return type(self.layers[0]).__name__

    def reserve(self) -> dict[str, Reservation]:
        """The layer's working arrays."""
        return self.layers[0].reserved

    def forward(self, x: Array) -> Array:
        """(batch, *input_shape) to (batch, *output_shape)."""
        return self.layers[0].compute(x, self)

    def backward(self, grad: Array) -> Array | None:
        """(batch, *output_shape) to (batch, *input_shape)."""
        return self.layers[0].backpropagate(grad, self)

    def recompute(self) -> None:
        """Write the output again."""
        self.layers[0].recompute(self)


class OwnPasses(LayerPass):
    """A layer that overrides `forward` and `backward`: these are called, and its arrays are its own."""

    def reserve(self) -> dict[str, Reservation]:
        """None."""
        return {}

    def forward(self, x: Array) -> Array:
        """(batch, *input_shape) to (batch, *output_shape)."""
        return self.layers[0].forward(x, self.training)

    def backward(self, grad: Array) -> Array | None:
        """(batch, *output_shape) to (batch, *input_shape)."""
        return self.layers[0].backward(grad)

    def forget(self) -> None:
        """Empty the layer's cache."""
        self.layers[0].forget()


def pass_of(layer: Layer, training: bool) -> Pass:
    """The pass of a layer by itself."""
    kind = type(layer)
    inherits = kind.forward is Layer.forward and kind.backward is Layer.backward
    return (LayerPass if inherits else OwnPasses)([layer], training)


class Chain:
    """Passes in a row.

    Attributes
    ----------
    passes : list of Pass
    ascent : list of Pass
        Those that go backward, the last one first; it ends where nobody wants a gradient any more.
    """

    def __init__(self, passes: Sequence[Pass]) -> None:
        self.passes = list(passes)
        self.ascent = self.passes[::-1]

    def want(self, below: bool) -> None:
        """Say which input gradients are wanted: all, or only those above the lowest pass with parameters.

        That pass leaves its own out, and those below it, down to the data, have nothing to do on the way back.
        """
        lowest = next((index for index, pass_ in enumerate(self.passes) if pass_.has_parameters), len(self.passes))
        self.ascent = self.passes[0 if below else lowest :][::-1]
        for index, pass_ in enumerate(self.passes):
            pass_.wants_gradient = below or index > lowest
            pass_.keeps = pass_.keeps and (below or index >= lowest)
            for way in pass_.ways:
                way.want(pass_.wants_gradient)

    def bind(self, arrays: Arrays) -> None:
        """Fix what is called, and who gives the arrays."""
        for pass_ in self.passes:
            pass_.arrays = arrays
            for way in pass_.ways:
                way.bind(arrays)
        self._forward = [
            arrays.watch(pass_.forward, pass_.name, pass_.starts, pass_.layers[-1].output_shape)
            for pass_ in self.passes
        ]
        self._backward = [
            arrays.watch(_upward(pass_), pass_.name, pass_.returns, pass_.layers[0].input_shape)
            for pass_ in self.ascent
        ]

    def forward(self, x: Array) -> Array:
        """The output of the last pass."""
        for forward in self._forward:
            x = forward(x)
        return x

    def forwards(self) -> Iterator[tuple[str, Callable[[Array], Array]]]:
        """The name of each pass's first layer, and its way forward."""
        yield from zip((pass_.layers[0].name for pass_ in self.passes), self._forward, strict=True)

    def backward(self, grad: Array) -> Array:
        """Fill the gradients of all parameters; returns the input gradient, which is of use where it is wanted."""
        for backward in self._backward:
            grad = backward(grad)
        return grad

    def walk(self) -> Iterator[Pass]:
        """Every pass, each behind those that it holds."""
        for pass_ in self.passes:
            for way in pass_.ways:
                yield from way.walk()
            yield pass_


def _upward(pass_: Pass) -> Callable[[Array], Any]:
    """A pass's way back, once its input is there."""
    below = pass_.below
    if below is None:
        return pass_.backward

    def backward(grad: Array) -> Array | None:
        below.recompute()
        return pass_.backward(grad)

    return backward
