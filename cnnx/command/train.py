"""`cnnx train`: train a network, test it and save it."""

import argparse
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from cnnx.command import data, report
from cnnx.command.data import Dataset
from cnnx.command.figures import print_test
from cnnx.command.options import add_training_options, check_log, training_options
from cnnx.command.output import is_narrower, say, shown
from cnnx.command.ranks import Ranks, among_ranks
from cnnx.command.recipe import AUTO, by_custom, picked
from cnnx.command.termination import INTERRUPTED, Termination
from cnnx.inspection.summary import summarize
from cnnx.models import MODELS
from cnnx.network import Model
from cnnx.optimizers import Optimizer

# The file of the report, if one is wanted, and what it says of the run.
Page = tuple[str | None, dict[str, Any]]
# Classes that are named one by one, and characters of a name.
NAMED, WIDEST = 12, 30
HELP = (
    "Train a network, test it and save it. For a folder of pictures, all that is not said is picked from the data: "
    "their size, the network, which standardizes them, batches, epochs, and how it learns; a part of each class is "
    "set aside for testing, and another to stop early. What is picked is printed."
)


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the others."""
    train = commands.add_parser("train", help="train a network, test it and save it", description=HELP)
    train.add_argument("data", metavar="DATA", help=data.DATA_HELP)
    train.add_argument(
        "--model",
        choices=(AUTO, *MODELS),
        help="network to train; auto picks one, and how it learns, from the data (default: auto for pictures, else "
        "small)",
    )
    train.add_argument(
        "--size", metavar="N|HxW", help="height and width of pictures (default: theirs, at most 64 on the longer side)"
    )
    train.add_argument(
        "--epochs", type=int, help="passes over the data (default: 20 for digits, 3 for others, picked for pictures)"
    )
    train.add_argument(
        "--batch-size", type=int, help="images a step (default: 8 for digits, 32 for others, picked for pictures)"
    )
    add_training_options(train)
    data.add_data_options(train)
    seed_help = "for weights, order of images, augmentation, and what is set aside (default: %(default)s)"
    train.add_argument("--seed", type=int, default=0, help=seed_help)
    train.add_argument("--output", metavar="FILE", help="where to save the model (default: DATA-MODEL.safetensors)")
    train.add_argument(
        "--report",
        metavar="FILE",
        nargs="?",
        const=report.DEFAULT,
        help="write a page on what it gets right and wrong, with the extra: pip install 'cnnx[report]' (default: "
        f"{report.DEFAULT})",
    )
    train.add_argument("--quiet", action="store_true", help="no progress, but the result")
    train.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train."""
    with among_ranks(arguments.shards) as ranks:
        arguments.quiet = arguments.quiet or not ranks.first
        with ranks.shared():
            prepared = _prepare(arguments, ranks)
        return _train(*prepared, ranks)


def _prepare(arguments: argparse.Namespace, ranks: Ranks) -> tuple[Model, Dataset, dict[str, Any], str, Page]:
    """What is trained, on what and how, where the model is saved, and what the report says, if one is wanted."""
    if arguments.report is not None:  # what it lacks is said before an hour of training
        from cnnx.reporting.needs import require_extra

        require_extra()
    for option in ("output", "checkpoint", "log", "report") if ranks.first else ():
        _check_writable(getattr(arguments, option), f"--{option}")
    check_log(arguments.log)
    kind = data.kind(arguments.data)
    is_picked = kind == "pictures" or arguments.model == AUTO
    dataset = _read(arguments, is_picked)
    X, _ = dataset.parts["train"]
    name = None if arguments.model == AUTO else arguments.model
    recipe = picked(dataset, name) if is_picked else by_custom(kind, name)
    options = training_options(arguments, recipe, min(X.shape[1:3]), dataset.pixel_max or 1)
    if dataset.is_validated:
        options |= {"validation_data": dataset.parts["validation"], "validation_split": 0.0}
    model = recipe.make(dataset.classes)
    model.class_names = dataset.class_names
    output = arguments.output or f"{dataset.name}-{recipe.model}.safetensors"
    if ranks.first:
        _check_writable(output, "--output")
    model.build(X.shape[1:], seed=arguments.seed)
    if not arguments.quiet:
        _say_network(model, options["batch_size"])
        if is_picked:
            _say_what_is_picked(recipe.model, options)
    about = report.about_run(arguments, output, dataset)
    options["parallel"] = ranks.shards
    return model, dataset, options, output, (arguments.report, about)


def _read(arguments: argparse.Namespace, is_picked: bool) -> Dataset:
    """The data, once they have been said."""
    parts = ("train", "validation", "test") if is_picked else ("train", "test")
    if arguments.size is not None and data.kind(arguments.data) != "pictures":
        raise ValueError(f"--size: expected a folder of pictures to resize, got {arguments.data}")
    wanted = data.wanted(arguments, *parts)._replace(size=_size(arguments.size), quiet=arguments.quiet)
    dataset = data.read(arguments.data, wanted)
    counts = {part: len(y) for part, (_, y) in dataset.parts.items()}
    first, *others = (
        f"{count} {'images ' if part == 'train' else ''}to {data.VERBS[part]} on" for part, count in counts.items()
    )
    shape = " x ".join(str(n) for n in dataset.parts["train"][0].shape[1:])
    say(f"{dataset.name}: {', '.join([first, *others])}, each {shape}")
    if dataset.class_names is not None:
        numbers = np.bincount(np.concatenate([y for _, y in dataset.parts.values()]), minlength=dataset.classes)
        named = [f"{shown(name, WIDEST)} ({n})" for name, n in zip(dataset.class_names, numbers, strict=True)]
        rest = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
        say(f"{len(named)} classes: {', '.join(named[:NAMED])}{rest}")
    if dataset.origin:
        say(dataset.origin)
    return dataset


def _say_network(model: Model, batch_size: int) -> None:
    """The table of layers, where a terminal is wide enough for it; how large it is, anyway."""
    lines = summarize(model.layers, model.plan, batch_size).splitlines()
    widest = max(map(len, lines[:-1]))
    if is_narrower(widest):
        lines = lines[-2:]
    say("\n".join(lines))


def _say_what_is_picked(name: str, options: dict[str, Any]) -> None:
    """So that it can be said next time."""
    optimizer = options["optimizer"]
    schedule = optimizer.learning_rate
    rate, how = (
        (schedule, "") if isinstance(schedule, float) else (schedule.learning_rate, f" {type(schedule).__name__}")
    )
    say(
        f"{name}, {type(optimizer).__name__}{how} {rate:g}, {options['batch_size']} images a step, "
        f"{options['epochs']} epochs at most"
    )
    if not options["augment"]:
        say("Where mirror images are of the same class, --augment flip,shift may help.")


def _train(model: Model, dataset: Dataset, options: dict[str, Any], output: str, page: Page, ranks: Ranks) -> int:
    """Train, save, test, and write the report, if one is wanted, with what it says of the run."""
    with Termination() as termination:
        options["callbacks"].append(termination)
        with _kept_if_it_fails(model, options["optimizer"], f"{output}.unfinished" if ranks.first else None):
            history = model.train(*dataset.parts["train"], **options)
            if termination.requested is not None and not options["optimizer"].steps:
                return termination.status
            interrupted = 0 if history.interrupted is None else INTERRUPTED
            if not ranks.first:
                return termination.status or interrupted
            # Saved first, spoken of afterwards: whatever happens to the output, the model is there.
            model.save(output)
    if history.interrupted is not None:
        epoch, batch = history.interrupted
        say(f"interrupted in epoch {epoch} after batch {batch}; this is the model so far")
    if history.stopped is not None:
        say(f"stopped after epoch {len(history.get('loss', ()))}: {history.stopped}")
    if termination.requested is None:  # who asks for the end does not want to wait
        print_test(model, *dataset.parts["test"])
    say(f"saved to {output}")
    if page[0] is not None and termination.requested is None:
        report.write(model, dataset, page[0], history, page[1])
    return termination.status or interrupted


@contextmanager
def _kept_if_it_fails(model: Model, optimizer: Optimizer, path: str | None) -> Iterator[None]:
    """Training; an error, or a second Ctrl-C, after the first step leaves the weights so far in a file beside."""
    try:
        yield
    except BaseException:
        if optimizer.steps and path is not None:
            try:
                model.save(path)
                say(f"cnnx: the model so far is saved to {path}", error=True)
            except OSError as unsaved:
                say(f"cnnx: the model so far could not be saved: {unsaved}", error=True)
        raise


def _check_writable(path: str | None, option: str) -> None:
    """Before an hour of training, not after it."""
    if path is None:
        return
    folder = Path(path).parent
    if Path(path).is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise OSError(f"{option}: {path} cannot be written")


def _size(text: str | None) -> tuple[int, int] | None:
    """Height and width, of N or HxW."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", text)
    size = None if found is None else (int(found[1]), int(found[2] or found[1]))
    if size is None or min(size) < 1:
        raise ValueError(f"--size: expected a number of pixels or HEIGHTxWIDTH, got {text}")
    return size
