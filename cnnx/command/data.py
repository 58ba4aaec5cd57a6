"""A command's DATA: what it may be, and what the commands make of it."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cnnx import datasets
from cnnx._typing import Array
from cnnx.command.output import say, shown
from cnnx.data.pixels import LOOKED_AT, pixel_max
from cnnx.datasets import pictures
from cnnx.datasets.files import Split, has_idx
from cnnx.datasets.splitting import set_aside
from cnnx.datasets.tables import find_csv_pair, is_csv
from cnnx.network import Model

DATA_HELP = (
    "a folder with a folder of pictures for each class, or with train/ and test/ of this kind in it; a folder of IDX "
    "files (as MNIST's, gzipped or not); an .npz file; a .csv file of pixels (as Kaggle's of MNIST, gzipped or not); "
    "the word digits"
)
TEST_SHARE, VALIDATION_SHARE = 0.2, 0.1
VERBS = {"train": "train", "validation": "validate", "test": "test"}


class Wanted(NamedTuple):
    """What a command wants of its data.

    Attributes
    ----------
    parts : tuple of str
        Of "train", "validation" and "test"; no picture of another part is read.
    test_share : float
        Of each class, for testing, where the data have no part for it.
    seed : int
        Of that, and of the validation part.
    size : pair of int, optional
        Height and width that pictures are brought to.
    model : Model, optional
        The model that the data are for: its shape and class names are theirs.
    skip_damaged, quiet : bool
    """

    parts: tuple[str, ...] = ("train", "test")
    test_share: float = TEST_SHARE
    seed: int = 0
    size: tuple[int, int] | None = None
    model: Model | None = None
    skip_damaged: bool = False
    quiet: bool = True


@dataclass(frozen=True)
class Dataset:
    """Examples and labels of each part that was wanted.

    Attributes
    ----------
    name : str
        For file names.
    parts : dict of str to (X, y)
        X (examples, height, width, channels): bytes of pictures that were read, else float32.
    class_names : tuple of str or None
    pixel_max : float or None
        Value of a white pixel.
    origin : str
        Where the parts come from, if they were drawn here.
    files : dict of str to list of str
        Names of the pictures of each part, where they were read from files.
    """

    name: str
    parts: dict[str, Split]
    class_names: tuple[str, ...] | None = None
    origin: str = ""
    files: dict[str, list[str]] = field(default_factory=dict)

    @property
    def pixel_max(self) -> float | None:
        """Value of a white pixel, as far as the first examples show it."""
        return pixel_max(next(iter(self.parts.values()))[0][:LOOKED_AT])

    @property
    def is_validated(self) -> bool:
        """Whether there are examples to validate on."""
        return "validation" in self.parts and len(self.parts["validation"][1]) > 0

    @property
    def classes(self) -> int:
        """Number of classes: the names', or one more than the largest label."""
        if self.class_names is not None:
            return len(self.class_names)
        return count_classes(*(y for _, y in self.parts.values()))


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how data are read, with the names that `wanted` expects."""
    parser.add_argument(
        "--test-share",
        type=float,
        default=TEST_SHARE,
        metavar="SHARE",
        help="of each class, set aside for testing where the data have no part for it; drawn with the seed "
        "(default: %(default)s; 1 takes all)",
    )
    parser.add_argument(
        "--skip-damaged", action="store_true", help="leave out pictures that cannot be read, once they have been named"
    )


def wanted(arguments: argparse.Namespace, *parts: str, model: Model | None = None) -> Wanted:
    """What the options of a command say."""
    share = arguments.test_share
    if not 0 < share <= 1 or (share == 1 and "train" in parts):
        raise ValueError(f"--test-share: expected a number between 0 and 1, got {share:g}")
    return Wanted(parts, share, arguments.seed, model=model, skip_damaged=arguments.skip_damaged)


def kind(source: str) -> str:
    """What a DATA argument is: "digits", "npz", "csv", "idx" or "pictures".

    Raises
    ------
    FileNotFoundError, ValueError
        If it is nothing of these.
    """
    path = Path(source)
    if source == "digits":
        return "digits"
    if path.is_dir():
        return "idx" if has_idx(path) else "csv" if find_csv_pair(path) else "pictures"
    if not path.exists():
        raise FileNotFoundError(
            f"{source}: expected the word digits, a folder of pictures or of IDX files, an .npz file or a .csv file; "
            "there is no such file or folder"
        )
    return "csv" if is_csv(path) else "npz"


def is_data(subject: str) -> bool:
    """Whether the argument is a data set, and not a model; a file that is no CSV is judged by its content."""
    path = Path(subject)
    return subject == "digits" or not path.is_file() or is_csv(path) or datasets.is_npz(path)


def read(source: str, wanted: Wanted) -> Dataset:
    """Read a command's DATA.

    Parameters
    ----------
    source : str
        As `DATA_HELP` says.
    wanted : Wanted

    Raises
    ------
    ImportError
        If it is a folder of pictures, and Pillow is not there.
    ValueError
        If it is damaged, or does not fit together, or the model.
    OSError
        If it does not exist or cannot be read.
    """
    path, found = Path(source), kind(source)
    dataset = _read_pictures(path, wanted) if found == "pictures" else _read_arrays(path, found, wanted)
    for part, (_, y) in dataset.parts.items():
        if part != "validation" and not len(y):
            raise ValueError(f"{source}: expected an example to {VERBS[part]} on, of the {part} part, got none")
    return dataset


def _read_arrays(path: Path, found: str, wanted: Wanted) -> Dataset:
    if found == "csv" and path.is_file():
        name, parts = datasets.name_of(path), {"train": datasets.load_csv(path)}
    else:
        name, (train, test) = datasets.load("digits" if found == "digits" else path)
        parts = {"train": train, "test": test}
    count_classes(*(y for _, y in parts.values()))
    X, y = parts.pop("train")
    drawn, origin = _draw(y, parts, wanted)
    parts |= {part: (X, y) if len(chosen) == len(X) else (X[chosen], y[chosen]) for part, chosen in drawn.items()}
    return Dataset(name, {part: parts[part] for part in wanted.parts}, None, origin)


def _draw(labels: Array, present: Collection[str], wanted: Wanted) -> tuple[dict[str, Array], str]:
    """Numbers of the training examples that are trained on, and in parts that are not present; how they were drawn."""
    rng = np.random.default_rng(wanted.seed)
    left, drawn, shares = np.arange(len(labels)), {}, []
    for part, share in (("test", wanted.test_share), ("validation", VALIDATION_SHARE)):
        if part in wanted.parts and part not in present:
            aside = set_aside(labels[left], share, rng)
            drawn[part], left = left[aside], left[~aside]
            shares.append(f"{share:.0%} to {VERBS[part]} on")
    how = f"drawn with seed {wanted.seed}, of each class: {', then '.join(shares)}" if shares else ""
    return {"train": left, **drawn}, how


def _read_pictures(folder: Path, wanted: Wanted) -> Dataset:
    folders = pictures.find_parts(folder)
    names = _class_names(folders["train"], wanted.model)
    numbers = {name: number for number, name in enumerate(names)}
    files = {part: pictures.find_files(folders[part], numbers) for part in folders if part in ("train", *wanted.parts)}
    train = files.pop("train")
    drawn, origin = _draw(train.labels, files, wanted)
    files |= {part: train.chosen(chosen) for part, chosen in drawn.items()}
    if wanted.model is None:
        shape = pictures.choose_shape(files["train"].paths, wanted.size)
    else:
        shape = wanted.model.input_shape
    if not wanted.quiet:
        say(f"reading {sum(len(files[part].paths) for part in wanted.parts)} pictures", error=True)
    read = {part: pictures.read_pictures(files[part], shape) for part in wanted.parts}
    _tell_damaged(read.values(), wanted.skip_damaged)
    if wanted.model is None:
        _check_none_empty(names, read["train"].y, folder)
    parts = {part: (each.X, each.y) for part, each in read.items()}
    named = {part: [f"{path.parent.name}/{path.name}" for path in each.paths] for part, each in read.items()}
    return Dataset(datasets.name_of(folder), parts, names, origin, named)


def _class_names(folder: Path, model: Model | None) -> tuple[str, ...]:
    """The model's, whose order is that of its outputs, or else the folder's."""
    if model is not None and model.class_names is not None:
        return model.class_names
    names = pictures.class_names(folder)
    if model is not None and len(names) != max(model.output_shape[0], 2):
        raise ValueError(f"{folder}: expected {model.output_shape[0]} classes, as the model has, got {len(names)}")
    return names


def _tell_damaged(read: Collection[pictures.Pictures], skip: bool) -> None:
    """Name every one; they are left out if the user wants that."""
    damaged = [each for part in read for each in part.damaged]
    for path, reason in damaged:
        say(f"{shown(path)}: {shown(reason)}", error=True)
    count = len(damaged) + sum(len(part.y) for part in read)
    if damaged and not skip:
        raise ValueError(f"{len(damaged)} of {count} files cannot be read as pictures; --skip-damaged leaves them out")
    if damaged:
        say(f"{len(damaged)} of {count} files cannot be read as pictures and are left out", error=True)


def _check_none_empty(names: Sequence[str], labels: Array, folder: Path) -> None:
    counts = np.bincount(labels, minlength=len(names))
    missing = [name for name, count in zip(names, counts, strict=True) if not count]
    if missing:
        raise ValueError(f"{folder}: expected a picture of each class to train on, found none of {', '.join(missing)}")


def count_classes(*labels: Array) -> int:
    """One more than the largest label, within reason: a stray label must not ask for endless memory."""
    lowest, largest = min(int(y.min()) for y in labels), max(int(y.max()) for y in labels)
    if lowest < 0:
        raise ValueError(f"labels: expected 0 or more, got {lowest}")
    examples = sum(len(y) for y in labels)
    if largest >= examples:
        raise ValueError(f"labels: expected fewer classes than the {examples} examples, got the label {largest}")
    return largest + 1


def as_known(model: Model, dataset: Dataset, part: str) -> Array:
    """Pictures of a part, with the value of white that the model has learned from."""
    X, white, known = dataset.parts[part][0], dataset.pixel_max, model.pixel_max or 1.0
    if white is None or white == known:
        return X
    if model.pixel_max is not None:
        say(f"the model has learned from pixels from 0 to {known:g}: it is given such pixels", error=True)
    return np.multiply(X, np.float32(known / white), dtype=np.float32)
