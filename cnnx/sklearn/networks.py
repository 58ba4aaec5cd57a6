"""From an estimator's `model` to a network of its own, not yet built."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from cnnx.layers.base import Layer
from cnnx.layers.loss import OutputLayer, SoftmaxLayer
from cnnx.layers.standardize import StandardizeLayer
from cnnx.models import MODELS
from cnnx.network import Model


def make_network(model: Any, outputs: int, ending: type[OutputLayer], owner: str) -> Model:
    """A network with a StandardizeLayer in front, with which the layers given share nothing.

    Parameters
    ----------
    model : str, callable or tuple of Layer
        A name in `cnnx.models.MODELS`, a function of the number of outputs that gives an unbuilt Model, or unbuilt
        layers.
    outputs : int
        Number of classes, or of values.
    ending : type
        The last layer, where a function gives a network for classes and other outputs are wanted.
    owner : str
        Beginning of messages.

    Raises
    ------
    TypeError, ValueError
        If `model` is none of these; a Model above all, for clones of the estimator would share its weights.
    """
    if isinstance(model, Model):
        raise TypeError(
            f"{owner}: model: expected a name, a function of the number of outputs, or a tuple of unbuilt layers, got "
            "a Model, whose weights clones of the estimator would share; give the function that makes it"
        )
    if isinstance(model, tuple | list):
        layers = _copies(model, owner)
    elif isinstance(model, str) and model in MODELS:
        layers = _made(MODELS[model], outputs, ending, owner)
    elif callable(model) and not isinstance(model, type | Layer):
        layers = _made(model, outputs, ending, owner)
    else:
        raise ValueError(
            f"{owner}: model: expected 'auto', one of {tuple(MODELS)}, a function of the number of outputs, or a tuple "
            f"of unbuilt layers, got {model!r}"
        )
    if not isinstance(layers[-1], OutputLayer):
        raise ValueError(
            f"{owner}: model: expected an output layer such as {ending.__name__} at its end, got {layers[-1]!r}"
        )
    return standardizing(layers)


def standardizing(layers: Sequence[Layer]) -> Model:
    """The network of these layers, behind one that standardizes its inputs unless they begin with it."""
    first = [] if isinstance(layers[0], StandardizeLayer) else [StandardizeLayer()]
    return Model(*first, *layers)


def _copies(layers: Sequence[Any], owner: str) -> list[Layer]:
    """Layers that nobody else has."""
    for index, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise TypeError(f"{owner}: model: expected layers, got {layer!r} at position {index}")
        if layer.built:
            raise ValueError(
                f"{owner}: model: expected unbuilt layers, got a built {layer.name} at position {index}, whose weights "
                "clones of the estimator would share"
            )
    if not layers:
        raise ValueError(f"{owner}: model: expected at least one layer, got none")
    # One by one: a layer that stands in two places becomes two.
    return [copy.deepcopy(layer) for layer in layers]


def _made(make: Callable[[int], Any], outputs: int, ending: type[OutputLayer], owner: str) -> list[Layer]:
    """Layers of a copy of the network that a function makes; it may give the same one each time."""
    made = make(outputs)
    if not isinstance(made, Model):
        raise TypeError(f"{owner}: model: expected {make!r} to give a Model, got {made!r}")
    if made.built:
        raise ValueError(f"{owner}: model: expected {make!r} to give an unbuilt Model, got a built one")
    layers = copy.deepcopy(made).layers
    for layer in layers:
        layer.leave_place()
    if isinstance(layers[-1], SoftmaxLayer) and ending is not SoftmaxLayer:
        layers[-1] = ending()
    return layers
