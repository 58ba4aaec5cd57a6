"""`cnnx predict`: classify pictures."""

import argparse
import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cnnx._typing import Array
from cnnx.command.figures import class_names
from cnnx.command.output import say, shown
from cnnx.files.folders import files_below
from cnnx.files.images import ENDINGS, NAMES, pillow_is_quiet, read_image
from cnnx.network import Model

# Pictures that are classified together.
BATCH = 32
HELP = (
    "Classify pictures. They are resized to the model's input, and their pixels are from 0 (black) to what the model "
    "has learned is white: a model of the digits or of MNIST expects light strokes on a dark ground. A file that "
    "cannot be read is named, and counted at the end; the exit status is then 1."
)


class Picture(NamedTuple):
    """A file to be read, and whether the user has named it."""

    path: str
    is_named: bool


class Decision(NamedTuple):
    """What a model says of a picture: one class, or any number of them, and the probability of each class."""

    path: str
    decided: list[int]
    probabilities: list[float]
    is_one: bool


Writer = Callable[[Decision], str]


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the others."""
    predict = commands.add_parser("predict", help="classify pictures", description=HELP)
    predict.add_argument("model", metavar="MODEL", help="a file that train has saved")
    predict.add_argument(
        "paths",
        metavar="PATH",
        nargs="+",
        help=f"a picture ({NAMES}), or a folder: the pictures in it and in its folders are taken, sorted by name",
    )
    form = predict.add_mutually_exclusive_group()
    for name, text in (("json", "an object for each picture, one a line"), ("csv", "a table, a column for each class")):
        form.add_argument(f"--{name}", action="store_const", dest="form", const=name, help=text)
    predict.set_defaults(run=run, form="text")


def run(arguments: argparse.Namespace) -> int:
    """Classify."""
    model = Model.load(arguments.model)
    pictures, unread = _find(arguments.paths)
    count = unread + len(pictures)
    head, write = _writer(arguments.form, model)
    if head:
        say(head)
    for start in range(0, len(pictures), BATCH):
        paths, pixels = _read(pictures[start : start + BATCH], model)
        unread += min(BATCH, len(pictures) - start) - len(paths)
        for decision in _decide(model, paths, pixels):
            say(write(decision))
    if unread:
        say(f"cnnx: {unread} of {count} could not be read", error=True)
    return 1 if unread else 0


def _find(paths: Sequence[str]) -> tuple[list[Picture], int]:
    """The pictures that the arguments stand for, and the number of folders that have none.

    In a folder, files with other endings than a picture's are none.
    """
    found: list[Picture] = []
    empty = 0
    for path in paths:
        if not Path(path).is_dir():
            found.append(Picture(path, True))
            continue
        files = list(files_below(Path(path)))
        pictures = [Picture(str(file), False) for file in files if file.suffix.lower() in ENDINGS]
        if len(pictures) < len(files):
            others = len(files) - len(pictures)
            say(f"{path}: {others} of {len(files)} files are no pictures by their endings", error=True)
        if not pictures:
            say(f"cnnx: error: {path}: expected pictures ({NAMES}), found none", error=True)
            empty += 1
        found += pictures
    return found, empty


def _read(pictures: Sequence[Picture], model: Model) -> tuple[list[str], Array]:
    """Those that can be read, with the value of white that the model knows; the others are said."""
    white, read = np.float32(model.pixel_max or 1), []
    for path, is_named in pictures:
        try:
            with pillow_is_quiet():
                pixels, resized = read_image(path, model.input_shape)
        except (ValueError, OSError) as error:
            say(f"cnnx: error: {shown(error)}", error=True)
            continue
        if resized and is_named:
            height, width, _ = model.input_shape
            say(f"{path}: resized to {height}x{width} pixels", error=True)
        read.append((path, pixels * white))
    return [path for path, _ in read], np.array([pixels for _, pixels in read], np.float32)


def _decide(model: Model, paths: Sequence[str], pixels: Array) -> Iterator[Decision]:
    if not paths:
        return
    for path, decided, probabilities in zip(paths, model.predict(pixels), model.predict_proba(pixels), strict=True):
        is_one = decided.ndim == 0
        numbers = [int(decided)] if is_one else decided.nonzero()[0].tolist()
        yield Decision(path, numbers, probabilities.tolist(), is_one)


def _writer(form: str, model: Model) -> tuple[str, Writer]:
    """The first line, if there is one, and what makes a line of each decision."""
    names = class_names(model)
    if form == "csv":
        return _row(["path", "class", *names]), partial(_csv, names=names)
    if form == "json":
        return "", partial(_json, names=names, is_named=model.class_names is not None)
    return "", _numbered if model.class_names is None else partial(_named, names=names)


def _numbered(decision: Decision) -> str:
    probabilities = decision.probabilities
    if decision.is_one:
        return (
            f"{shown(decision.path)}: class {decision.decided[0]}, probability {probabilities[decision.decided[0]]:.4f}"
        )
    labels = ", ".join(f"{label} ({probabilities[label]:.4f})" for label in decision.decided)
    return f"{shown(decision.path)}: {f'classes {labels}' if labels else 'no class'}"


def _named(decision: Decision, names: Sequence[str]) -> str:
    """Such as ``holiday.jpg: cat 0.97``."""
    words = [f"{shown(names[label])} {decision.probabilities[label]:.2f}" for label in decision.decided]
    return f"{shown(decision.path)}: {', '.join(words) or 'no class'}"


def _json(decision: Decision, names: Sequence[str], is_named: bool) -> str:
    decided = [names[label] if is_named else label for label in decision.decided]
    probabilities = dict(zip(names, map(_rounded, decision.probabilities), strict=True))
    entries: dict[str, Any] = {"path": decision.path}
    if decision.is_one:
        entries |= {"class": decided[0], "probability": _rounded(decision.probabilities[decision.decided[0]])}
    else:
        entries["classes"] = decided
    return json.dumps({**entries, "probabilities": probabilities})


def _csv(decision: Decision, names: Sequence[str]) -> str:
    decided = ";".join(names[label] for label in decision.decided)
    return _row([decision.path, decided, *map(_rounded, decision.probabilities)])


def _row(cells: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()[:-1]


def _rounded(probability: float) -> float:
    return round(probability, 6)
