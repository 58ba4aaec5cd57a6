"""The figures of a run, for TensorBoard."""

from __future__ import annotations

import os
from typing import Any

from cnnx.training.run import Callback, Figures, Run


class TensorBoard(Callback):
    """Write the figures of each epoch, and the learning rate, for TensorBoard; it needs the extra `tensorboard`.

    Parameters
    ----------
    folder : str or path-like
        Each run writes a file of its own into it.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = os.fspath(folder)
        self._writer: Any = None

    def on_train_begin(self, run: Run) -> None:
        """Open the file."""
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ImportError("TensorBoard needs tensorboardX: python -m pip install 'cnnx[tensorboard]'") from error
        self._run, self._writer = run, SummaryWriter(self.folder)

    def on_epoch_end(self, epoch: int, figures: Figures) -> None:
        """Add each figure."""
        for name, value in {**figures, "learning_rate": self._run.optimizer.rate}.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def on_train_end(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
