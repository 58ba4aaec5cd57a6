"""`cnnx train`: train a network, test it and save it."""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cnnx import datasets
from cnnx._typing import Array
from cnnx.checks.arguments import check_count
from cnnx.command.data import DATA_HELP, count_classes
from cnnx.command.figures import print_test
from cnnx.command.options import add_training_options, training_options
from cnnx.command.output import say
from cnnx.command.termination import Termination
from cnnx.inspection.summary import summarize
from cnnx.models import MODELS
from cnnx.network import Model
from cnnx.optimizers import Optimizer

DEFAULTS = {"epochs": 3, "batch_size": 32}
DIGITS_DEFAULTS = {"epochs": 20, "batch_size": 8}


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the others."""
    train = commands.add_parser("train", help="train a network, test it and save it")
    train.add_argument("data", metavar="DATA", help=DATA_HELP)
    train.add_argument("--model", choices=MODELS, default="small", help="network to train (default: %(default)s)")
    train.add_argument("--epochs", type=int, help="passes over the data (default: 20 for digits, else 3)")
    train.add_argument("--batch-size", type=int, help="images a step (default: 8 for digits, else 32)")
    add_training_options(train)
    seed_help = "for weights, order of images and augmentation (default: %(default)s)"
    train.add_argument("--seed", type=int, default=0, help=seed_help)
    train.add_argument("--output", metavar="FILE", help="where to save the model (default: DATA-MODEL.safetensors)")
    train.add_argument("--quiet", action="store_true", help="no progress bar")
    train.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train."""
    name, ((X_train, y_train), (X_test, y_test)) = datasets.load(arguments.data)
    say(f"{name}: {len(X_train)} images to train on, {len(X_test)} to test on, each {_size(X_train)}")
    output = arguments.output or f"{name}-{arguments.model}.safetensors"
    _check_writable(output, "--output")
    if arguments.checkpoint is not None:
        _check_writable(arguments.checkpoint, "--checkpoint")
    model = MODELS[arguments.model](count_classes(y_train, y_test))
    model.build(X_train.shape[1:], seed=arguments.seed)
    defaults = DIGITS_DEFAULTS if arguments.data == "digits" else DEFAULTS
    epochs = defaults["epochs"] if arguments.epochs is None else arguments.epochs
    batch_size = defaults["batch_size"] if arguments.batch_size is None else arguments.batch_size
    options = training_options(arguments, epochs, min(X_train.shape[1:3]))
    say(summarize(model.layers, model.plan, check_count(batch_size, "batch_size")))
    options |= {"batch_size": batch_size, "epochs": epochs, "seed": arguments.seed, "verbose": not arguments.quiet}
    with Termination() as termination:
        options["callbacks"].append(termination)
        with _kept_if_it_fails(model, options["optimizer"], f"{output}.unfinished"):
            history = model.train(X_train, y_train, **options)
            if termination.requested is not None and not options["optimizer"].steps:
                return termination.status
            # Saved first, spoken of afterwards: whatever happens to the output, the model is there.
            model.save(output)
    if history.interrupted is not None:
        epoch, batch = history.interrupted
        say(f"interrupted in epoch {epoch} after batch {batch}; this is the model so far")
    if history.stopped is not None:
        say(f"stopped after epoch {len(history.get('loss', ()))}: {history.stopped}")
    if termination.requested is None:  # who asks for the end does not want to wait
        print_test(model, X_test, y_test)
    say(f"saved to {output}")
    return termination.status


@contextmanager
def _kept_if_it_fails(model: Model, optimizer: Optimizer, path: str) -> Iterator[None]:
    """Training; an error, or a second Ctrl-C, after the first step leaves the weights so far in a file beside."""
    try:
        yield
    except BaseException:
        if optimizer.steps:
            try:
                model.save(path)
                say(f"cnnx: the model so far is saved to {path}", error=True)
            except OSError as unsaved:
                say(f"cnnx: the model so far could not be saved: {unsaved}", error=True)
        raise


def _check_writable(path: str, option: str) -> None:
    """Before an hour of training, not after it."""
    folder = Path(path).parent
    if Path(path).is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise OSError(f"{option}: {path} cannot be written")


def _size(X: Array) -> str:
    return " x ".join(str(n) for n in X.shape[1:])
