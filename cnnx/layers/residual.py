"""A residual block: its input goes round its layers as well as through them, and the two are added.

    y = F(x) + S(x)        dL/dx = the gradient g through F, plus g through S

with g = dL/dy, F the layers in sequence, and S the identity or layers of its own. The layers have to learn only how
the output differs from the input, and the gradient has a way past them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from cnnx import _kernels
from cnnx._configured import call
from cnnx._typing import Array, Shape
from cnnx.layers.base import (
    Layer,
    backward_through,
    check_free,
    choose_initializers,
    forward_through,
)
from cnnx.layers.loss import OutputLayer
from cnnx.layers.standardize import StandardizeLayer

# A model file may name blocks in blocks, but not without end.
DEEPEST = 16


class ResidualLayer(Layer):
    """Layers with a way past them: (batch, ...) to (batch, ...), the sum of both ways.

    Parameters
    ----------
    *layers : Layer
        F, from input to output; among them may be other residual layers, nested up to 16 deep. A layer object stands
        in one place only.
    shortcut : Layer, or list or tuple of Layer, optional
        S; by default the identity. Where F changes the shape, a convolution with 1x1 filters and the same stride
        makes the shapes equal.

    Attributes
    ----------
    layers, shortcut : list of Layer
        F and S; `shortcut` is empty for the identity.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above, or, from `build`, if F and S give different shapes.

    Notes
    -----
    In `params`, `grads` and `state` are the arrays of all layers, under keys such as ``"0.W"`` (the first of `layers`)
    and ``"shortcut.0.W"``.

    He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, eq. 1 and 2. As in the paper, the
    activation behind the sum is a layer of its own, after the block.

    Examples
    --------
    >>> import cnnx
    >>> block = cnnx.ResidualLayer(
    ...     cnnx.ConvolutionLayer(filters=8, filter_size=3, padding=1), cnnx.BatchNormLayer(), cnnx.ReluLayer(),
    ...     cnnx.ConvolutionLayer(filters=8, filter_size=3, padding=1), cnnx.BatchNormLayer())
    >>> block.build((32, 32, 8))
    (32, 32, 8)
    """

    holds: ClassVar[tuple[str, ...]] = ("layers", "shortcut")

    def __init__(self, *layers: Layer, shortcut: Layer | Sequence[Layer] | None = None) -> None:
        super().__init__()
        if shortcut is not None and not isinstance(shortcut, Layer | list | tuple):
            raise TypeError(f"{self.name}: shortcut: expected a layer or a list of layers, got {shortcut!r}")
        past = [] if shortcut is None else [shortcut] if isinstance(shortcut, Layer) else list(shortcut)
        if not layers or (shortcut is not None and not past):
            raise ValueError(f"{self.name}: expected at least one layer{' in shortcut' if layers else ''}, got none")
        check_free([*layers, *past], self.name)
        for layer in (*layers, *past):
            if isinstance(layer, OutputLayer):
                raise ValueError(f"{self.name}: {layer.name} is an output layer, which must be a model's last layer")
            if isinstance(layer, StandardizeLayer):
                raise ValueError(f"{self.name}: {layer.name} takes the data, and must be a model's first layer")
        self.depth: int = 1 + max(layer.depth if isinstance(layer, ResidualLayer) else 0 for layer in (*layers, *past))
        if self.depth > DEEPEST:
            raise ValueError(f"{self.name}: expected blocks nested up to {DEEPEST} deep, got {self.depth}")
        self.layers, self.shortcut = list(layers), past
        self.sublayers = {str(index): layer for index, layer in enumerate(layers)}
        self.sublayers.update({f"shortcut.{index}": layer for index, layer in enumerate(past)})
        self._place_sublayers(self.name)

    def create(self, input_shape: Shape, rng: np.random.Generator) -> Shape:
        """Builds F, then S; their shapes must be equal."""
        self.choose_initializer(self.default_initializer)
        through = self._build_way("", self.layers, input_shape, rng)
        past = self._build_way("shortcut.", self.shortcut, input_shape, rng)
        if through != past:
            hint = "" if self.shortcut else "; a shortcut, such as a convolution with 1x1 filters, can make them equal"
            raise ValueError(
                f"{self.name}: expected equal shapes to add, got {through} through the layers and {past} past "
                f"them{hint}"
            )
        return through

    def forward(self, x: Array, training: bool = False) -> Array:
        """(batch, ...) to (batch, ...), the layers inside one by one; a model computes some of them together."""
        x = self._checked_input(x)
        through, past = forward_through(self.layers, x, training), forward_through(self.shortcut, x, training)
        y = self._context(training).array("output", len(x))
        _kernels.add(through, past, False, y)
        if training:
            self._cache = (x,)
        return y

    def backward(self, grad: Array) -> Array:
        """(batch, ...) to (batch, ...)."""
        grad, x = self._use_up_cache(grad)
        through, past = backward_through(self.layers, grad), backward_through(self.shortcut, grad)
        out = self._context(False).array("input_gradient", len(x))
        _kernels.add(through, past, False, out)
        return out

    # -- One layer to others: what belongs to the layers inside ---------------------------------------

    @property
    def params(self) -> dict[str, Array]:
        """Parameters of all layers inside."""
        return self._of_sublayers("params")

    @params.setter
    def params(self, values: dict[str, Array]) -> None:
        self._to_sublayers("params", values)

    @property
    def grads(self) -> dict[str, Array]:
        """Gradients of all layers inside."""
        return self._of_sublayers("grads")

    @grads.setter
    def grads(self, values: dict[str, Array]) -> None:
        self._to_sublayers("grads", values)

    @property
    def state(self) -> dict[str, Array]:
        """State of all layers inside."""
        return self._of_sublayers("state")

    @state.setter
    def state(self, values: dict[str, Array]) -> None:
        self._to_sublayers("state", values)

    def _of_sublayers(self, kind: str) -> dict[str, Array]:
        return {
            f"{path}.{key}": value
            for path, layer in self.sublayers.items()
            for key, value in getattr(layer, kind).items()
        }

    def _to_sublayers(self, kind: str, values: Mapping[str, Array]) -> None:
        of_layer = _by_layer(values)
        for path, layer in self.sublayers.items():
            setattr(layer, kind, of_layer.get(path, {}))

    def _build_way(self, start: str, way: list[Layer], shape: Shape, rng: np.random.Generator) -> Shape:
        of_layer = None if self._given is None else _by_layer(self._given)
        for index, layer in enumerate(way):
            given = None if of_layer is None else of_layer.get(f"{start}{index}", {})
            shape = layer.build(shape, rng, self.dtype, given)
        return shape

    def place(self, where: str) -> None:
        """Take the name that goes with a place in a model; the layers inside are ``where.layers[0]`` and so on."""
        super().place(where)
        self._place_sublayers(where)

    def _place_sublayers(self, where: str) -> None:
        for name, way in (("layers", self.layers), ("shortcut", self.shortcut)):
            for index, layer in enumerate(way):
                layer.place(f"{where}.{name}[{index}]")

    def choose_initializer(self, following: str) -> str:
        """Both ways are followed by what follows the block; the weights before it by its layers."""
        self.default_initializer = following
        choose_initializers(self.shortcut, following)
        return choose_initializers(self.layers, following)

    def config(self) -> dict[str, Any]:
        """The layers of both ways as they describe themselves."""
        layers, shortcut = ([layer.description() for layer in way] for way in (self.layers, self.shortcut))
        return {"layers": layers, "shortcut": shortcut or None}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ResidualLayer:
        """A block of these layers."""
        layers, shortcut = config["layers"], config["shortcut"]
        for name, way in (("layers", layers), ("shortcut", shortcut)):
            if not (isinstance(way, list) or (way is None and name == "shortcut")):
                raise TypeError(f"{cls.__name__}: {name}: expected a list of layers, got {way!r}")
        if len(config) > 2:
            raise TypeError(f"{cls.__name__}: expected layers and shortcut, got {sorted(config)}")
        return cls(*layers, shortcut=shortcut)

    def __repr__(self) -> str:
        arguments = [repr(layer) for layer in self.layers]
        if self.shortcut:
            arguments.append(f"shortcut={self.shortcut!r}")
        return call(type(self).__name__, arguments)


def _by_layer(values: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """The arrays of each layer, by its path and their own keys, from those of the block."""
    arrays: dict[str, dict[str, Array]] = {}
    for name, value in values.items():
        path, _, key = name.partition(".")
        if path == "shortcut":
            index, _, key = key.partition(".")
            path = f"shortcut.{index}"
        arrays.setdefault(path, {})[key] = value
    return arrays
