"""Where a network looked: the positions of its last feature map that speak for a class.

With A[k] the k-th channel of the map, of Z positions, and s_c the score of class c before the output layer,

    alpha[k] = 1/Z  sum over positions i, j of  d s_c / d A[k, i, j]
    L[i, j]  = max(0, sum over k of  alpha[k] A[k, i, j])

Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization", ICCV 2017, eq. 1 and 2. Both are those of a prediction: batch normalization takes its running averages,
and nothing is dropped.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np

from cnnx._typing import Array
from cnnx.layers.base import Layer, forward_through
from cnnx.layers.dropout import DropoutLayer
from cnnx.layers.loss import OutputLayer
from cnnx.layers.normalization import BatchNormLayer
from cnnx.layers.pooling import PoolLayer
from cnnx.layers.residual import ResidualLayer
from cnnx.memory.context import FRESH, Context

Backward = Callable[[Array], Array]
# Behind the last map with weights, these make it smaller or leave it as it is.
PASSED_OVER = (PoolLayer, DropoutLayer)


def last_map(layers: Sequence[Layer]) -> int | None:
    """The layer whose output is the last feature map with positions, before pooling; None where there is none.

    A residual block counts as one layer, whose output is the sum of both its ways.
    """
    for index in reversed(range(len(layers))):
        shape = layers[index].output_shape
        if len(shape) == 3 and shape[0] * shape[1] > 1 and not isinstance(layers[index], PASSED_OVER):
            return index
    return None


def grad_cam(layers: Sequence[Layer], x: Array, classes: Array, at: int | None = None) -> Array:
    """How much each position of a feature map speaks for a class.

    Parameters
    ----------
    layers : sequence of Layer
        A model's, built.
    x : ndarray of shape (batch, *input_shape)
        Examples, in the model's dtype.
    classes : ndarray of shape (batch,)
        The class to look for in each example. Where the model has one output, for classes 0 and 1, that of 0 has the
        negative score.
    at : int, optional
        The layer whose output is the feature map; by default `last_map`.

    Returns
    -------
    ndarray of shape (batch, rows, columns)
        L of the formula above, from 0; all 0 where nothing speaks for the class.

    Raises
    ------
    ValueError
        If there is no feature map with positions.
    """
    at = last_map(layers) if at is None else at
    if at is None or len(layers[at].output_shape) != 3:
        raise ValueError("Grad-CAM: expected a model with feature maps (height, width, channels), got one without")
    maps = forward_through(layers[: at + 1], x, training=False)
    end = len(layers) - 1 if isinstance(layers[-1], OutputLayer) else len(layers)
    # Of copies, for the way back fills gradients of parameters, too.
    scores, backward = _through(copy.deepcopy(list(layers[at + 1 : end])), maps)
    if scores.ndim != 2:
        raise ValueError(f"Grad-CAM: expected scores of shape (batch, classes), got {scores.shape}")
    gradient = backward(_score_gradient(scores, classes))
    alpha = gradient.mean(axis=(1, 2), keepdims=True)
    found: Array = np.maximum((alpha * maps).sum(axis=3), 0)
    return found


def _score_gradient(scores: Array, classes: Array) -> Array:
    """Of each example's score, with respect to all scores."""
    gradient = scores * 0
    if scores.shape[1] == 1:
        gradient[:, 0] = np.where(classes > 0, 1, -1)
    else:
        gradient[np.arange(len(scores)), classes] = 1
    return gradient


def _through(layers: Sequence[Layer], x: Array) -> tuple[Array, Backward]:
    """What layers in a row predict, and the way back from there to the gradient with respect to `x`."""
    ways: list[Backward] = []
    for layer in layers:
        x, way = _through_one(layer, x)
        ways.append(way)

    def backward(grad: Array) -> Array:
        for way in reversed(ways):
            grad = way(np.ascontiguousarray(grad))
        return grad

    return x, backward


def _through_one(layer: Layer, x: Array) -> tuple[Array, Backward]:
    if isinstance(layer, ResidualLayer):
        through, way = _through(layer.layers, x)
        past, way_past = _through(layer.shortcut, x)
        return through + past, lambda grad: way(grad) + way_past(grad)
    if isinstance(layer, DropoutLayer):
        return x, lambda grad: grad
    if isinstance(layer, BatchNormLayer):
        slope = layer.params["gamma"] / np.sqrt(layer.state["variance"] + layer.dtype.type(layer.epsilon))
        return layer.forward(x), lambda grad: grad * slope
    kind = type(layer)
    if kind.forward is not Layer.forward or kind.backward is not Layer.backward:  # a user's own
        return layer.forward(x, training=True), layer.backward
    context = Context(layer.name, layer.reserved, FRESH, training=False)
    context.keeps = True
    return layer.compute(x, context), lambda grad: _wanted(layer.backpropagate(grad, context))


def _wanted(grad: Array | None) -> Array:
    assert grad is not None  # the context wants it
    return grad


def enlarge(maps: Array, height: int, width: int) -> Array:
    """Maps (batch, rows, columns) as (batch, height, width), bilinear between the middles of their positions."""
    _, rows, columns = maps.shape
    enlarged: Array = _between(rows, height) @ maps @ _between(columns, width).T
    return enlarged


def _between(places: int, pixels: int) -> Array:
    """Weights (pixels, places) of the two nearest places of each pixel; at the borders, of the last one alone."""
    position = np.clip((np.arange(pixels) + 0.5) * places / pixels - 0.5, 0, places - 1)
    weights: Array = np.maximum(0, 1 - np.abs(position[:, np.newaxis] - np.arange(places)))
    return weights
