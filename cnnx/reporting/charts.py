"""Matplotlib's charts as SVG inside a page, in the page's own colours and font."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnx import plots
from cnnx._typing import Array
from cnnx.plots.canvas import BLUE, GREY, ORANGE, new_figure
from cnnx.plots.charts import BESIDE, VALIDATION, curves_of, draw_reliability

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What is drawn in these colours has, in the page, those of its scheme, light or dark.
INK, LINE = "#0a0b0c", "#0d0e0f"
SCHEME = {INK: "--ink", LINE: "--line", BLUE: "--blue", ORANGE: "--orange", GREY: "--muted"}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "cnnx",
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": LINE,
}
NOTHING = {"Date": None, "Creator": None, "Format": None, "Type": None}
# Epochs of a curve, curves, and classes to a side of an overview: more would be seen by nobody.
MOST_EPOCHS, MOST_CURVES, MOST_BLOCKS = 400, 4, 250


def history_svgs(history: Mapping[str, Sequence[float]]) -> list[str]:
    """A chart for each figure of the epochs; none where there is no epoch."""
    names = [name for name in curves_of(history) if len(history[name])][:MOST_CURVES]
    return [_svg(f"curve{number}", partial(_curves, history, name)) for number, name in enumerate(names)]


def _curves(history: Mapping[str, Sequence[float]], name: str) -> Figure:
    kept = {key: _finite(history[key]).tolist() for key in (name, VALIDATION + name) if key in history}
    figure = plots.history(kept, new_figure(4.4, 2.9))
    for line in figure.axes[0].lines:
        line.set_data(*(_thinned(np.asarray(values)) for values in (line.get_xdata(), line.get_ydata())))
    return figure


def epochs_of(history: Mapping[str, Sequence[float]]) -> int:
    """How many there were."""
    return max((len(values) for name, values in history.items() if name not in BESIDE), default=0)


def reliability_svg(right: Array, confidence: Array, bins: int) -> str:
    """Accuracy by confidence."""

    def draw() -> Figure:
        figure = new_figure(4.6, 3.4)
        draw_reliability(right, confidence, bins, figure.add_subplot())
        return figure

    return _svg("reliability", draw)


def overview_svg(counts: Array) -> str:
    """A confusion matrix of many classes, as colours alone."""
    size = len(counts)
    step = -(-size // MOST_BLOCKS)
    blocks = np.add.reduceat(
        np.add.reduceat(counts, np.arange(0, size, step), axis=0), np.arange(0, size, step), axis=1
    )
    shares = blocks / np.maximum(blocks.sum(axis=1, keepdims=True), 1)

    def draw() -> Figure:
        figure = new_figure(5, 5)
        ax = figure.add_subplot()
        ax.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1, interpolation="none", extent=(0, size, size, 0))
        ax.set(xlabel="said", ylabel="true")
        return figure

    return _svg("overview", draw)


def _finite(values: Sequence[float]) -> Array:
    """NaN where a number is infinite: a curve has a gap there."""
    array = np.asarray(values, np.float64)
    return np.where(np.isfinite(array), array, np.nan)


def _thinned(values: Array) -> Array:
    """Not too many points of a curve."""
    count = len(values)
    return values if count <= MOST_EPOCHS else values[np.linspace(0, count - 1, MOST_EPOCHS).round().astype(int)]


def _svg(name: str, draw: Callable[[], Figure]) -> str:
    """The same bits each time; every id begins with `name`, for a page has several charts."""
    from matplotlib import rc_context

    text = io.StringIO()
    with rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the browser has fonts of its own
        draw().savefig(text, format="svg", transparent=True, metadata=NOTHING)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = re.sub(
        r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1), count=1
    )
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", svg)
    for colour, variable in SCHEME.items():
        svg = svg.replace(colour, f"var({variable})")
    return svg.strip()
