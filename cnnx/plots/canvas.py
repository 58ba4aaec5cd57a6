"""Where pictures are drawn: what a user gives, or figures of their own that no other part of Matplotlib knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's blue and vermilion, which the colour-blind tell apart.
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#8a8f98"


def new_figure(width: float, height: float) -> Figure:
    """A figure in inches; it needs the extra `plot`."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("cnnx.plots needs matplotlib: python -m pip install 'cnnx[plot]'") from error
    return Figure(figsize=(width, height), layout="constrained")


def figure_or_new(figure: Any, width: float, height: float) -> Figure:
    """The figure that was given, which must have the methods of one, or a new one."""
    if figure is None:
        return new_figure(width, height)
    if not hasattr(figure, "subplots"):
        raise TypeError(f"figure: expected a matplotlib Figure, got {figure!r}")
    given: Figure = figure
    return given


def axes_or_new(ax: Any, width: float, height: float) -> Axes:
    """The axes that were given, or those of a new figure."""
    if ax is None:
        return new_figure(width, height).add_subplot()
    if not hasattr(ax, "plot"):
        raise TypeError(f"ax: expected matplotlib Axes, got {ax!r}")
    given: Axes = ax
    return given


def tidy(ax: Axes) -> None:
    """No frame but the axes, and a light grid behind what is drawn."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.3, linewidth=0.6)
    ax.set_axisbelow(True)


def show_tiles(figure: Figure, pictures: Any, titles: list[str], columns: int) -> Figure:
    """Pictures of bytes in rows, each with a title that is taken as it is."""
    rows = -(-len(pictures) // columns)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes:
        ax.set_axis_off()
    for ax, picture, title in zip(axes, pictures, titles, strict=False):
        ax.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        ax.set_title(title, fontsize=8, parse_math=False)
    return figure
