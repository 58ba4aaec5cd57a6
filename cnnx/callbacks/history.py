"""The figures of a run, kept."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from importlib.util import find_spec
from io import StringIO
from typing import Any, ClassVar

from cnnx.training.run import Callback, Figures


class History(dict[str, list[float]], Callback):
    """Figures of a training run, one value an epoch.

    Keys: ``"loss"`` (mean cross-entropy, in nats), ``"accuracy"`` (share of 1), ``"seconds"``, and with
    validation data ``"validation_loss"`` and ``"validation_accuracy"``. The loss and accuracy of an epoch are
    means over its batches as they were trained, so the weights they belong to change on the way. A run that was
    resumed has the figures of all its epochs.

    Attributes
    ----------
    interrupted : tuple of (int, int) or None
        Epoch and batch, counted from 1, after which Ctrl-C stopped the run; figures of an unfinished epoch
        are not recorded.
    stopped : str or None
        Why a callback ended the run.
    """

    everywhere: ClassVar[bool] = True
    interrupted: tuple[int, int] | None = None
    stopped: str | None = None

    def on_epoch_end(self, epoch: int, figures: Figures) -> None:
        """Append each figure to its list."""
        for name, value in figures.items():
            self.setdefault(name, []).append(value)

    def to_frame(self) -> Any:
        """A pandas DataFrame with a row for each epoch, counted from 1, and a column for each figure.

        It needs the extra `pandas`.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError("History.to_frame needs pandas: python -m pip install 'cnnx[pandas]'") from error
        epochs = max((len(values) for values in self.values()), default=0)
        return pandas.DataFrame(dict(self), index=pandas.RangeIndex(1, epochs + 1, name="epoch"))

    def _repr_html_(self) -> str:
        """The curves, for notebooks; without Matplotlib, the table of the epochs."""
        epochs = max((len(values) for values in self.values()), default=0)
        if not epochs:
            return "<p>no epoch was finished</p>"
        if find_spec("matplotlib") is None:
            return self._table(epochs)
        from cnnx import plots

        text = StringIO()
        plots.history(self).savefig(text, format="svg")
        svg = text.getvalue()
        return svg[svg.index("<svg") :]

    def _table(self, epochs: int) -> str:
        """A row for each epoch."""
        rows = [("th", ["epoch", *self])]
        for epoch in range(epochs):
            values = [f"{values[epoch]:.4g}" if epoch < len(values) else "" for values in self.values()]
            rows.append(("td", [str(epoch + 1), *values]))
        cells = ("".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row) for tag, row in rows)
        return f"<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"

    def state(self) -> dict[str, Any]:
        """All figures."""
        return {"figures": dict(self)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The figures of the epochs before."""
        figures = state["figures"]
        lists = figures.values() if isinstance(figures, dict) else [None]
        if not all(isinstance(each, list) and all(isinstance(n, float | int) for n in each) for each in lists):
            raise ValueError(f"History: expected a list of numbers for each figure, got {figures!r}")
        self.update(figures)
