"""The chart for the README: training steps, each contestant's time as a multiple of cnnx's."""

from collections.abc import Sequence

from benchmarks.contestants import CNNX
from benchmarks.rows import Row


def draw(rows: Sequence[Row], path: str) -> None:
    """Draw the rows of the training suite; without one there is nothing to draw."""
    rows = [row for row in rows if row.suite == "training" and CNNX in row.seconds]
    if not rows:
        print("no chart: no training step was measured")
        return
    from matplotlib.figure import Figure

    contestants = list(dict.fromkeys(name for row in rows for name in row.seconds))
    figure = Figure(figsize=(8, 1 + 0.9 * len(rows)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(contestants)
    for place, name in enumerate(contestants):
        present = [(i, row) for i, row in enumerate(rows) if name in row.seconds]
        positions = [i + (place - (len(contestants) - 1) / 2) * height for i, _ in present]
        multiples = [row.seconds[name].median / row.seconds[CNNX].median for _, row in present]
        bars = axes.barh(positions, multiples, height, label=name, color="black" if name == CNNX else f"C{place}")
        axes.bar_label(bars, fmt="%.1f", fontsize=7, padding=2)
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("time of a training step, as a multiple of cnnx's (shorter is faster)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=150)
