"""What a model gets wrong, where it looked, and what its filters are, drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cnnx._typing import Array
from cnnx.checks.arguments import check_count
from cnnx.checks.arrays import check_batch
from cnnx.inspection import grad_cam as looked
from cnnx.inspection.names import shown_names
from cnnx.inspection.outcomes import Classifier, batches_of, check_classifier, outcomes
from cnnx.inspection.pictures import as_filters, as_pictures, first_convolution, is_picture, overlay, span_of
from cnnx.layers.base import forward_through
from cnnx.plots.canvas import figure_or_new, show_tiles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Filters and channels that a figure shows at most.
MOST = 64


def mistakes(model: Classifier, X: Any, y: Any, count: int = 16, figure: Any = None) -> Figure:
    """Draw the worst mistakes: the pictures that the model was surest of, and wrong.

    Parameters
    ----------
    model : Model
        Built, with an output layer that says one class.
    X : array_like of shape (examples, height, width, channels)
    y : array_like of shape (examples,)
        True classes.
    count : int
        Pictures to show at most.
    figure : matplotlib.figure.Figure, optional
        Where to draw; a new one by default.

    Returns
    -------
    matplotlib.figure.Figure
        With axes for each picture; if there is no mistake, a figure that says so.

    Raises
    ------
    TypeError, ValueError
        If the model says no classes or several at once, or examples are no pictures.
    """
    count = check_count(count, "plots.mistakes: count")
    check_classifier(model, "plots.mistakes")
    _check_pictures(model, "plots.mistakes")
    examples = np.asarray(X)
    found = outcomes(model, batches_of(model, examples), y, "plots.mistakes")
    if found.several:
        raise TypeError("plots.mistakes: expected a model that says one class, got one that says several labels")
    worst, names = found.mistakes[:count], shown_names(model.class_names, found.classes)
    titles = []
    for index in worst.tolist():
        sure = found.probability_of(index, found.said[index])
        said = names[found.said[index]] if sure is None else f"{names[found.said[index]]} ({sure:.2f})"
        titles.append(f"said {said}\nis {names[found.truth[index]]}")
    columns = min(4, max(len(worst), 1))
    drawn = figure_or_new(figure, 1.7 * columns, 2 * max(-(-len(worst) // columns), 1))
    if not len(worst):
        drawn.text(0.5, 0.5, f"no mistake in {len(found.truth)} pictures", ha="center", va="center")
        return drawn
    return show_tiles(drawn, as_pictures(examples[worst], span_of(examples, model.pixel_max)), titles, columns)


def filters(model: Classifier, figure: Any = None) -> Figure:
    """Draw the filters of the first convolution, 64 at most.

    Grey in the middle is 0, and each filter's largest weight is white or black; filters of three channels are in
    colour, of any other number the mean is shown.

    Parameters
    ----------
    model : Model
        Built.
    figure : matplotlib.figure.Figure, optional
        Where to draw; a new one by default.

    Returns
    -------
    matplotlib.figure.Figure
    """
    _check_built(model, "plots.filters")
    tiles = as_filters(first_convolution(model.layers, "plots.filters"))[:MOST]
    return _tiles_in_a_square(tiles, figure)


def feature_maps(model: Classifier, x: Any, layer: int | None = None, figure: Any = None) -> Figure:
    """Draw the output of a layer for one picture, channel by channel, 64 at most.

    Parameters
    ----------
    model : Model
        Built.
    x : array_like of shape (height, width, channels)
        One picture, in the model's input shape.
    layer : int, optional
        Which of ``model.layers``, with an output (height, width, channels); by default the first convolution.
    figure : matplotlib.figure.Figure, optional
        Where to draw; a new one by default.

    Returns
    -------
    matplotlib.figure.Figure
    """
    where = "plots.feature_maps"
    _check_built(model, where)
    if layer is None:
        shapes = [each.output_shape for each in model.layers]
        layer = next((n for n, each in enumerate(model.layers) if each.has_weights and is_picture(shapes[n])), None)
        if layer is None:
            raise ValueError(f"{where}: expected a model with feature maps (height, width, channels), got one without")
    elif not 0 <= check_count(layer, f"{where}: layer", least=0) < len(model.layers):
        raise ValueError(f"{where}: layer: expected 0 to {len(model.layers) - 1}, got {layer}")
    if not is_picture(model.layers[layer].output_shape):
        raise ValueError(
            f"{where}: layer: expected one with maps (height, width, channels), got {model.layers[layer].name} with "
            f"the output shape {model.layers[layer].output_shape}"
        )
    batch = check_batch(np.asarray(x)[np.newaxis], model.input_shape, model.dtype, "x")
    maps = forward_through(model.layers[: layer + 1], batch, training=False)[0]
    tiles = np.concatenate([_as_tile(maps[np.newaxis, :, :, k : k + 1]) for k in range(min(maps.shape[2], MOST))])
    return _tiles_in_a_square(tiles, figure)


def grad_cam(model: Classifier, X: Any, classes: Any = None, figure: Any = None) -> Figure:
    """Draw where the model looked: beside each picture the positions that speak for a class, by Grad-CAM.

    Parameters
    ----------
    model : Model
        Built, with feature maps.
    X : array_like of shape (examples, height, width, channels)
        Some pictures.
    classes : int or array_like of shape (examples,), optional
        The class to look for in each; by default the one that the model says.
    figure : matplotlib.figure.Figure, optional
        Where to draw; a new one by default.

    Returns
    -------
    matplotlib.figure.Figure
        With two axes for each picture.

    Notes
    -----
    Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017.
    The feature map is the last one with positions, before pooling.
    """
    output = check_classifier(model, "plots.grad_cam")
    _check_pictures(model, "plots.grad_cam")
    x = check_batch(X, model.input_shape, model.dtype, "X")
    if not len(x):
        raise ValueError("plots.grad_cam: X: expected at least one picture, got none")
    names = shown_names(model.class_names, max(output.output_shape[0], 2))
    if classes is None:
        scores = np.concatenate([model.forward(batch) for batch in batches_of(model, x)])
        classes = scores.argmax(axis=1) if scores.shape[1] > 1 else output.decide(scores)
    chosen = np.broadcast_to(np.asarray(classes), (len(x),))
    if chosen.dtype.kind not in "iu" or chosen.min() < 0 or chosen.max() >= len(names):
        raise ValueError(f"plots.grad_cam: classes: expected integers from 0 to {len(names) - 1}, got {classes!r}")
    pictures = as_pictures(x, span_of(x, model.pixel_max))
    beside = overlay(pictures, looked.grad_cam(model.layers, x, chosen))
    tiles: list[Array] = [tile for pair in zip(pictures, beside, strict=True) for tile in pair]
    titles = [title for label in chosen.tolist() for title in ("", f"for {names[label]}")]
    columns = 2 * min(3, len(x))
    drawn = figure_or_new(figure, 1.6 * columns, 1.9 * -(-len(tiles) // columns))
    return show_tiles(drawn, tiles, titles, columns)


def _as_tile(channel: Array) -> Array:
    """From the least value, black, to the largest."""
    return as_pictures(channel, span_of(channel, None))


def _tiles_in_a_square(tiles: Array, figure: Any) -> Figure:
    columns = int(np.ceil(np.sqrt(len(tiles))))
    drawn = figure_or_new(figure, max(columns, 2), max(-(-len(tiles) // columns), 1))
    return show_tiles(drawn, tiles, [""] * len(tiles), columns)


def _check_built(model: Classifier, where: str) -> None:
    if not model.built:
        raise RuntimeError(f"{where}: the model is not built; call build(input_shape), or train it")


def _check_pictures(model: Classifier, where: str) -> None:
    if not is_picture(model.input_shape):
        raise ValueError(
            f"{where}: expected a model of pictures (height, width, channels), got one of examples {model.input_shape}"
        )
