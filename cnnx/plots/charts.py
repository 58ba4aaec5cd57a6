"""Curves and tables of figures, drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnx.inspection.names import shown_names, visible
from cnnx.metrics import calibration, confusion_matrix
from cnnx.plots.canvas import BLUE, GREY, ORANGE, axes_or_new, figure_or_new, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

VALIDATION = "validation_"
# Figures of an epoch that say nothing of how good the model is.
BESIDE = ("seconds", "communication", "learning_rate")
# Classes up to which numbers stand in the cells, and names at the sides.
NUMBERED, NAMED = 25, 60


def curves_of(history: Mapping[str, Sequence[float]]) -> list[str]:
    """The figures that a curve is drawn for, each with its own of validation."""
    return [name for name in history if name not in BESIDE and not name.startswith(VALIDATION)]


def history(history: Mapping[str, Sequence[float]], figure: Any = None) -> Figure:
    """Draw the curves of a training run: one of training, and one of validation where there is one.

    Parameters
    ----------
    history : History, or mapping of str to a sequence of float
        Figures of each epoch, as `Model.train` returns them.
    figure : matplotlib.figure.Figure, optional
        Where to draw; a new one by default.

    Returns
    -------
    matplotlib.figure.Figure
        With axes for each figure, such as loss and accuracy.

    Raises
    ------
    ImportError
        Without Matplotlib, the extra `plot`. So it is for all functions here.
    ValueError
        If there is no epoch.
    """
    names = curves_of(history)
    if not any(len(history[name]) for name in names):
        raise ValueError("plots.history: expected the figures of one epoch or more, got none")
    drawn = figure_or_new(figure, 4.2 * len(names), 3)
    for ax, name in zip(drawn.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for key, colour, label in ((name, BLUE, "training"), (VALIDATION + name, ORANGE, "validation")):
            if key in history:
                epochs = np.arange(1, len(history[key]) + 1)
                marker = "o" if len(epochs) < 25 else None
                ax.plot(epochs, history[key], color=colour, label=label, marker=marker, markersize=3.5)
        tidy(ax)
        ax.set_xlabel("epoch")
        ax.set_title(visible(name).replace("_", " "), parse_math=False)
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.legend(frameon=False)
    return drawn


def confusion(y: Any, predicted: Any, class_names: Sequence[str] | None = None, ax: Any = None) -> Axes:
    """Draw how often each class is taken for each: counts, and shares of a class's examples as colours.

    Parameters
    ----------
    y, predicted : array_like of shape (examples,)
        True and predicted classes.
    class_names : sequence of str, optional
        A name for each class; numbers by default.
    ax : matplotlib.axes.Axes, optional
        Where to draw; those of a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
    """
    classes = None if class_names is None else len(class_names)
    counts = confusion_matrix(y, predicted, classes)
    size = len(counts)
    side = min(2.2 + 0.42 * size, 9)
    drawn = axes_or_new(ax, side, side)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    drawn.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    if size <= NUMBERED:
        for i, j in np.argwhere(counts):
            colour = "white" if shares[i, j] > 0.5 else "black"
            drawn.text(j, i, f"{counts[i, j]}", ha="center", va="center", color=colour, fontsize=8)
    if size <= NAMED:
        names = shown_names(class_names, size)
        upright = max(map(len, names)) > 2
        drawn.set_xticks(range(size), names, rotation=90 if upright else 0, parse_math=False)
        drawn.set_yticks(range(size), names, parse_math=False)
    drawn.set(xlabel="predicted", ylabel="true")
    return drawn


def reliability(y: Any, probabilities: Any, bins: int = 10, ax: Any = None) -> Axes:
    """Draw how often predictions are right, by how sure they were, and the expected calibration error.

    Parameters
    ----------
    y : array_like of shape (examples,)
        True classes.
    probabilities : array_like of shape (examples, classes)
        As `Model.predict_proba` gives them.
    bins : int
        Of equal width, as in `cnnx.metrics.calibration`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; those of a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If shapes do not fit together.
    """
    labels, given = np.asarray(y), np.asarray(probabilities)
    if given.ndim != 2 or labels.shape != given.shape[:1] or given.shape[1] < 2:
        raise ValueError(
            f"plots.reliability: expected y (examples,) and probabilities (examples, classes), got {labels.shape} and "
            f"{given.shape}"
        )
    return draw_reliability(labels == given.argmax(axis=1), np.clip(given.max(axis=1), 0, 1), bins, ax)


def draw_reliability(right: Any, confidence: Any, bins: int = 10, ax: Any = None) -> Axes:
    """The same from what was right, and how sure the model was of it, (examples,) each."""
    found = calibration(right, confidence, bins)
    drawn = axes_or_new(ax, 4.2, 3.6)
    middles, width = (found.edges[:-1] + found.edges[1:]) / 2, 1 / bins
    shares = found.examples / found.examples.sum()
    drawn.bar(middles, shares, 0.92 * width, color=GREY, alpha=0.35, label="share of predictions")
    drawn.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="as sure as right")
    full = found.examples > 0
    drawn.plot(found.confidence[full], found.accuracy[full], color=BLUE, marker="o", markersize=4, label="right")
    tidy(drawn)
    drawn.set(
        xlim=(0, 1),
        ylim=(0, 1.02),
        xlabel="confidence",
        ylabel="accuracy",
        title=f"expected calibration error {found.expected_error:.3f} ({bins} bins)",
    )
    drawn.legend(frameon=False, loc="upper left")
    return drawn
