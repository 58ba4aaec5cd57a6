"""How `cnnx train` trains: its options for optimizer, schedule, augmentation, checkpoints and early stopping."""

import argparse
from collections.abc import Callable
from typing import Any

from cnnx.augmentation import Augmentation, Brightness, Contrast, CutOut, Flip, MixUp, Noise, Rotate, Scale, Shift
from cnnx.callbacks import Callback, Checkpoint, EarlyStopping
from cnnx.checks.arguments import check_count
from cnnx.optimizers import OPTIMIZERS, Optimizer
from cnnx.schedules import CosineDecay, OneCycle, Schedule

LEARNING_RATE = 0.1
# For --early-stopping: what is validated on is the end of the training images.
VALIDATION_SPLIT = 0.1
SCHEDULES = ("constant", "cosine", "onecycle")
# For images whose smaller side has so many pixels and whose values are from 0 to 1.
AUGMENTATIONS: dict[str, Callable[[int], Augmentation]] = {
    "flip": lambda size: Flip(),
    "shift": lambda size: Shift(max(1, size // 8)),
    "rotate": lambda size: Rotate(10),
    "scale": lambda size: Scale(0.9, 1.1),
    "brightness": lambda size: Brightness(0.1),
    "contrast": lambda size: Contrast(0.2),
    "noise": lambda size: Noise(0.05),
    "cutout": lambda size: CutOut(max(1, size // 4)),
    "mixup": lambda size: MixUp(0.2),
}
AUGMENT_HELP = (
    "random changes of the images, names with commas between them, made in the order given: flip (left and right), "
    "shift (up to an 8th of the size), rotate (up to 10 degrees), scale (0.9 to 1.1), brightness (up to 0.1), contrast "
    "(0.8 to 1.2), noise (deviation 0.05), cutout (a box of a 4th of the size), mixup (alpha 0.2)"
)


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to those of the command."""
    rate = f"step size, the largest one of a schedule (default: {LEARNING_RATE}, or that of another optimizer than sgd)"
    parser.add_argument("--optimizer", choices=sorted(OPTIMIZERS), default="sgd", help="default: %(default)s")
    parser.add_argument("--learning-rate", type=float, help=rate)
    parser.add_argument(
        "--schedule",
        choices=SCHEDULES,
        default="constant",
        help="how the step size changes: not at all; cosine: up for a 10th of the epochs, one at most, then down to 0; "
        "onecycle: up for 3 tenths of them, then down (default: %(default)s)",
    )
    parser.add_argument("--weight-decay", type=float, help="share of the weights (default: the optimizer's)")
    shards = (
        "cut each batch into so many blocks, a power of two, and have all processes that mpiexec or srun has started "
        "train together, to the same weights whatever their number"
    )
    parser.add_argument("--shards", metavar="COUNT", type=int, help=shards)
    parser.add_argument("--augment", metavar="NAMES", help=AUGMENT_HELP)
    parser.add_argument("--checkpoint", metavar="FILE", help="written after each epoch, to go on from with --resume")
    parser.add_argument("--resume", metavar="FILE", help="go on from a checkpoint, with all else as in that run")
    parser.add_argument(
        "--early-stopping",
        metavar="PATIENCE",
        type=int,
        help=f"validate on the last {VALIDATION_SPLIT:.0%}".replace("%", "%%")
        + " of the training images instead of training on them, stop once the validation loss has not improved for "
        "more than so many epochs, and keep the best weights",
    )


def training_options(arguments: argparse.Namespace, epochs: int, size: int) -> dict[str, Any]:
    """Arguments for `Model.train`, made from those of the command.

    Parameters
    ----------
    arguments : argparse.Namespace
    epochs : int
        Of the whole run.
    size : int
        Pixels of the images' smaller side.

    Raises
    ------
    TypeError, ValueError
        If a value is not one that an option takes.
    """
    check_count(epochs, "--epochs")
    callbacks: list[Callback] = []
    if arguments.early_stopping is not None:
        check_count(arguments.early_stopping, "--early-stopping", least=0)
        callbacks.append(EarlyStopping("validation_loss", arguments.early_stopping))
    if arguments.checkpoint is not None:
        callbacks.append(Checkpoint(arguments.checkpoint))
    return {
        "optimizer": _optimizer(arguments, epochs),
        "augment": _augmentations(arguments.augment, size),
        "validation_split": 0.0 if arguments.early_stopping is None else VALIDATION_SPLIT,
        "callbacks": callbacks,
        "resume": arguments.resume,
    }


def _optimizer(arguments: argparse.Namespace, epochs: int) -> Optimizer:
    decay = {} if arguments.weight_decay is None else {"weight_decay": arguments.weight_decay}
    optimizer = OPTIMIZERS[arguments.optimizer](**decay)
    if arguments.learning_rate is not None:
        optimizer.learning_rate = arguments.learning_rate
    elif arguments.optimizer == "sgd":
        optimizer.learning_rate = LEARNING_RATE
    optimizer.learning_rate = _schedule(arguments.schedule, optimizer.rate, epochs)
    return optimizer


def _schedule(name: str, rate: float, epochs: int) -> float | Schedule:
    if name == "cosine":
        return CosineDecay(rate, epochs, warmup=min(1.0, epochs / 10))
    return OneCycle(rate, epochs) if name == "onecycle" else rate


def _augmentations(names: str | None, size: int) -> list[Augmentation]:
    if names is None:
        return []
    augmentations = []
    for name in names.split(","):
        if name not in AUGMENTATIONS:
            raise ValueError(f"--augment: expected names among {','.join(AUGMENTATIONS)}, got {name!r}")
        augmentations.append(AUGMENTATIONS[name](size))
    return augmentations
