"""The command `cnnx`: train, evaluate, predict, verify, export, config."""

import argparse
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from cnnx import datasets
from cnnx._typing import Array
from cnnx._version import __version__
from cnnx.checks.arguments import check_count
from cnnx.command.configuration import show_config
from cnnx.command.export import add_export
from cnnx.command.options import add_training_options, training_options
from cnnx.command.output import say, settle
from cnnx.command.ranks import Ranks, among_ranks
from cnnx.command.termination import Termination
from cnnx.inspection.summary import summarize
from cnnx.models import MODELS
from cnnx.network import Model
from cnnx.optimizers import Optimizer

DATA_HELP = "the word digits, a folder of IDX files (as MNIST's, gzipped or not), or an .npz file"
DEFAULTS = {"epochs": 3, "batch_size": 32}
DIGITS_DEFAULTS = {"epochs": 20, "batch_size": 8}
INTERRUPTED = 128 + signal.SIGINT


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; those of the process by default.

    Returns
    -------
    int
        0; 1 if an image could not be read or a verification failed; 2 for any other error, which is
        printed as one line; 128 and the number of the signal that ended it, as shells have it: 130 after Ctrl-C.
    """
    try:
        arguments = _parser().parse_args(argv)
        status: int = arguments.run(arguments)
    except (ValueError, TypeError, OSError, ImportError, RuntimeError, FloatingPointError, MemoryError) as error:
        say(f"cnnx: error: {error}", error=True)
        return 2
    except KeyboardInterrupt:
        say("cnnx: interrupted", error=True)
        return INTERRUPTED
    finally:
        settle()
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cnnx", description="Train and run convolutional neural networks on a CPU.")
    parser.add_argument("--version", action="version", version=f"cnnx {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

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
    train.set_defaults(run=_train)

    evaluate = commands.add_parser("evaluate", help="test a saved model on a data set's test images")
    evaluate.add_argument("model", metavar="MODEL", help="a file that train has saved")
    evaluate.add_argument("data", metavar="DATA", help=DATA_HELP)
    evaluate.set_defaults(run=_evaluate)

    predict = commands.add_parser(
        "predict",
        help="classify image files",
        description="Classify image files. They are resized to the model's input and scaled to [0, 1], black to white "
        "(to [0, 255] for a model that has learned from such pixels): "
        "a model of the digits or of MNIST expects light strokes on a dark ground.",
    )
    predict.add_argument("model", metavar="MODEL", help="a file that train has saved")
    predict.add_argument("images", metavar="IMAGE", nargs="+", help="a PNG or JPEG file")
    predict.set_defaults(run=_predict)

    verify = commands.add_parser("verify", help="compare the compiled kernels with their NumPy twins, layer by layer")
    verify.add_argument("subject", metavar="MODEL_OR_DATASET", help=f"a saved model, or {DATA_HELP}")
    verify.add_argument("--data", metavar="DATA", help="images to verify a saved model on (default: digits)")
    verify.add_argument(
        "--model", choices=MODELS, default="small", help="network for a data set (default: %(default)s)"
    )
    verify.add_argument("--samples", type=int, default=64, help="images to compute with (default: %(default)s)")
    verify.set_defaults(run=_verify)

    add_export(commands)

    config = commands.add_parser("config", help="print version, backend, instruction set, threads and MPI")
    config.set_defaults(run=_config)
    return parser


def _train(arguments: argparse.Namespace) -> int:
    with among_ranks(arguments.shards) as ranks:
        return _train_among_ranks(arguments, ranks)


def _train_among_ranks(arguments: argparse.Namespace, ranks: Ranks) -> int:
    with ranks.shared():
        name, ((X_train, y_train), (X_test, y_test)) = datasets.load(arguments.data)
        say(f"{name}: {len(X_train)} images to train on, {len(X_test)} to test on, each {_size(X_train)}")
        output = arguments.output or f"{name}-{arguments.model}.safetensors"
        if ranks.first:
            _check_writable(output, "--output")
        if ranks.first and arguments.checkpoint is not None:
            _check_writable(arguments.checkpoint, "--checkpoint")
        model = MODELS[arguments.model](_count_classes(y_train, y_test))
        model.build(X_train.shape[1:], seed=arguments.seed)
        defaults = DIGITS_DEFAULTS if arguments.data == "digits" else DEFAULTS
        epochs = defaults["epochs"] if arguments.epochs is None else arguments.epochs
        batch_size = defaults["batch_size"] if arguments.batch_size is None else arguments.batch_size
        options = training_options(arguments, epochs, min(X_train.shape[1:3]))
        say(summarize(model.layers, model.plan, check_count(batch_size, "batch_size")))
    options |= {"batch_size": batch_size, "epochs": epochs, "seed": arguments.seed, "verbose": not arguments.quiet}
    with Termination() as termination:
        options["callbacks"].append(termination)
        with _kept_if_it_fails(model, options["optimizer"], f"{output}.unfinished" if ranks.first else None):
            history = model.train(X_train, y_train, **options, parallel=ranks.shards)
            if termination.requested is not None and not options["optimizer"].steps:
                return termination.status
            status = termination.status or (0 if history.interrupted is None else INTERRUPTED)
            if not ranks.first:
                return status
            # Saved first, spoken of afterwards: whatever happens to the output, the model is there.
            model.save(output)
    if history.interrupted is not None:
        epoch, batch = history.interrupted
        say(f"interrupted in epoch {epoch} after batch {batch}; this is the model so far")
    if history.stopped is not None:
        say(f"stopped after epoch {len(history.get('loss', ()))}: {history.stopped}")
    if termination.requested is None:  # who asks for the end does not want to wait
        _print_test(model, X_test, y_test)
    say(f"saved to {output}")
    return termination.status or status


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


def _evaluate(arguments: argparse.Namespace) -> int:
    model = Model.load(arguments.model)
    _, (_, (X_test, y_test)) = datasets.load(arguments.data)
    _print_test(model, X_test * _brightness(model, X_test), y_test)
    return 0


def _predict(arguments: argparse.Namespace) -> int:
    from cnnx.files.images import read_image

    model = Model.load(arguments.model)
    status, white = 0, np.float32(model.pixel_max or 1)
    for path in arguments.images:
        try:
            pixels, resized = read_image(path, model.input_shape)
        except (ValueError, OSError) as error:
            say(f"cnnx: error: {error}", error=True)
            status = 1
            continue
        if resized:
            height, width, _ = model.input_shape
            say(f"{path}: resized to {height}x{width} pixels", error=True)
        say(f"{path}: {_decision(model, pixels[None] * white)}")
    return status


def _brightness(model: Model, X: Array) -> np.float32:
    """What pictures from 0 to 1 are multiplied by to be as the model knows them."""
    if model.pixel_max in (None, 1) or X.max() > 1:
        return np.float32(1)
    say(f"the model has learned from pixels from 0 to {model.pixel_max:g}: it is given such pixels", error=True)
    return np.float32(model.pixel_max)


def _decision(model: Model, image: Array) -> str:
    """What the model decides, with probabilities; one with several labels may name any number of them."""
    decided, probabilities = model.predict(image)[0], model.predict_proba(image)[0]
    if decided.ndim == 0:
        return f"class {decided}, probability {probabilities[decided]:.4f}"
    labels = ", ".join(f"{label} ({probabilities[label]:.4f})" for label in decided.nonzero()[0])
    return f"classes {labels}" if labels else "no class"


def _verify(arguments: argparse.Namespace) -> int:
    from cnnx.inspection.verification import VerificationError

    if arguments.samples < 1:
        raise ValueError(f"--samples: expected 1 or more, got {arguments.samples}")
    if _is_data(arguments.subject):
        _, ((X, y), _) = datasets.load(arguments.subject)
        model = MODELS[arguments.model](_count_classes(y))
        model.build(X.shape[1:], seed=0)
    else:
        model = Model.load(arguments.subject)
        _, ((X, y), _) = datasets.load(arguments.data or "digits")
        X = X[: arguments.samples] * _brightness(model, X)
    try:
        say(model.verify(X[: arguments.samples], y[: arguments.samples]))
    except VerificationError as error:
        say(error)
        return 1
    return 0


def _config(arguments: argparse.Namespace) -> int:
    show_config()
    return 0


def _print_test(model: Model, X: Array, y: Array) -> None:
    """Test loss and accuracy, and the table of classes."""
    from cnnx.metrics import class_figures

    loss, accuracy = model.evaluate(X, y)
    # One output is for two classes.
    figures = class_figures(y, model.predict(X), max(model.output_shape[0], 2))
    say("\nclass  images  precision  recall      F1")
    for label, (images, precision, recall, f1) in enumerate(zip(*figures, strict=True)):
        say(f"{label:5}  {images:6}  {precision:9.4f}  {recall:6.4f}  {f1:6.4f}")
    say(f"\ntest loss {loss:.4f}, test accuracy {accuracy:.2%}")


def _is_data(subject: str) -> bool:
    """Whether the argument is a data set; a file is judged by its content, not its name."""
    path = Path(subject)
    return subject == "digits" or not path.exists() or path.is_dir() or datasets.is_npz(path)


def _count_classes(*labels: Array) -> int:
    """One more than the largest label, within reason: a stray label must not ask for endless memory."""
    lowest, largest = min(int(y.min()) for y in labels), max(int(y.max()) for y in labels)
    if lowest < 0:
        raise ValueError(f"labels: expected 0 or more, got {lowest}")
    examples = sum(len(y) for y in labels)
    if largest >= examples:
        raise ValueError(f"labels: expected fewer classes than the {examples} examples, got the label {largest}")
    return largest + 1


def _check_writable(path: str, option: str) -> None:
    """Before an hour of training, not after it."""
    folder = Path(path).parent
    if Path(path).is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise OSError(f"{option}: {path} cannot be written")


def _size(X: Array) -> str:
    return " x ".join(str(n) for n in X.shape[1:])
