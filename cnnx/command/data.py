"""What a command's DATA may be."""

from pathlib import Path

import numpy as np

from cnnx import datasets
from cnnx._typing import Array
from cnnx.command.output import say
from cnnx.network import Model

DATA_HELP = "the word digits, a folder of IDX files (as MNIST's, gzipped or not), or an .npz file"


def is_data(subject: str) -> bool:
    """Whether the argument is a data set; a file is judged by its content, not its name."""
    path = Path(subject)
    return subject == "digits" or not path.exists() or path.is_dir() or datasets.is_npz(path)


def count_classes(*labels: Array) -> int:
    """One more than the largest label, within reason: a stray label must not ask for endless memory."""
    lowest, largest = min(int(y.min()) for y in labels), max(int(y.max()) for y in labels)
    if lowest < 0:
        raise ValueError(f"labels: expected 0 or more, got {lowest}")
    examples = sum(len(y) for y in labels)
    if largest >= examples:
        raise ValueError(f"labels: expected fewer classes than the {examples} examples, got the label {largest}")
    return largest + 1


def brightness(model: Model, X: Array) -> np.float32:
    """What pictures from 0 to 1 are multiplied by to be as the model knows them."""
    if model.pixel_max in (None, 1) or X.max() > 1:
        return np.float32(1)
    say(f"the model has learned from pixels from 0 to {model.pixel_max:g}: it is given such pixels", error=True)
    return np.float32(model.pixel_max)
