"""How `cnnx train` trains: its options for optimizer, schedule, augmentation, checkpoints and early stopping."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cnnx.augmentation import Augmentation, Brightness, Contrast, CutOut, Flip, MixUp, Noise, Rotate, Scale, Shift
from cnnx.callbacks import Callback, Checkpoint, CSVLog, EarlyStopping, JSONLog
from cnnx.checks.arguments import check_count
from cnnx.command.recipe import Recipe
from cnnx.optimizers import OPTIMIZERS, Optimizer
from cnnx.schedules import CosineDecay, OneCycle, Schedule

LEARNING_RATE = 0.1
# For --early-stopping: what is validated on is the end of the training images.
VALIDATION_SPLIT = 0.1
SCHEDULES = ("constant", "cosine", "onecycle")
# For images whose smaller side has so many pixels and whose values are from 0 to `white`.
AUGMENTATIONS: dict[str, Callable[[int, float], Augmentation]] = {
    "flip": lambda size, white: Flip(),
    "shift": lambda size, white: Shift(max(1, size // 8)),
    "rotate": lambda size, white: Rotate(10),
    "scale": lambda size, white: Scale(0.9, 1.1),
    "brightness": lambda size, white: Brightness(0.1 * white),
    "contrast": lambda size, white: Contrast(0.2),
    "noise": lambda size, white: Noise(0.05 * white),
    "cutout": lambda size, white: CutOut(max(1, size // 4)),
    "mixup": lambda size, white: MixUp(0.2),
}
LOGS = {".csv": CSVLog, ".jsonl": JSONLog, ".json": JSONLog}
AUGMENT_HELP = (
    "random changes of the images, names with commas between them, made in the order given: flip (left and right), "
    "shift (up to an 8th of the size), rotate (up to 10 degrees), scale (0.9 to 1.1), brightness (up to 0.1), contrast "
    "(0.8 to 1.2), noise (deviation 0.05), cutout (a box of a 4th of the size), mixup (alpha 0.2)"
)


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to those of the command."""
    rate = (
        f"step size, the largest one of a schedule (default: {LEARNING_RATE}, 0.004 for pictures, or that of another "
        "optimizer that is chosen)"
    )
    parser.add_argument("--optimizer", choices=sorted(OPTIMIZERS), help="default: sgd; adamw for pictures")
    parser.add_argument("--learning-rate", type=float, help=rate)
    parser.add_argument(
        "--schedule",
        choices=SCHEDULES,
        help="how the step size changes: not at all; cosine: up for a 10th of the epochs, one at most, then down to 0; "
        "onecycle: up for 3 tenths of them, then down (default: constant; onecycle for pictures)",
    )
    parser.add_argument(
        "--weight-decay", type=float, help="share of the weights (default: the optimizer's; 0.1 for pictures)"
    )
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
        "more than so many epochs, and keep the best weights (of pictures this is done anyway, with a 10th of each "
        "class)",
    )
    parser.add_argument(
        "--log", metavar="FILE", help="figures of each epoch: a .csv file, or JSON lines in a .jsonl or .json file"
    )


def training_options(arguments: argparse.Namespace, recipe: Recipe, size: int, white: float) -> dict[str, Any]:
    """Arguments for `Model.train`, made from those of the command.

    Parameters
    ----------
    arguments : argparse.Namespace
    recipe : Recipe
        What these do not say.
    size : int
        Pixels of the images' smaller side.
    white : float
        Value of a white pixel.

    Raises
    ------
    TypeError, ValueError
        If a value is not one that an option takes.
    """
    epochs = check_count(recipe.epochs if arguments.epochs is None else arguments.epochs, "--epochs")
    callbacks: list[Callback] = []
    patience = recipe.patience if arguments.early_stopping is None else arguments.early_stopping
    if patience is not None:
        check_count(patience, "--early-stopping", least=0)
        callbacks.append(EarlyStopping("validation_loss", patience))
    if arguments.log is not None:
        callbacks.append(LOGS[check_log(arguments.log)](arguments.log))
    if arguments.checkpoint is not None:
        callbacks.append(Checkpoint(arguments.checkpoint))
    return {
        "optimizer": _optimizer(arguments, recipe, epochs),
        "augment": _augmentations(arguments.augment, size, white),
        "validation_split": 0.0 if patience is None else VALIDATION_SPLIT,
        "callbacks": callbacks,
        "resume": arguments.resume,
        "batch_size": check_count(
            recipe.batch_size if arguments.batch_size is None else arguments.batch_size, "batch_size"
        ),
        "epochs": epochs,
        "seed": arguments.seed,
        "verbose": not arguments.quiet,
    }


def check_log(path: str | None) -> str:
    """The ending of a log's name, which says of what kind it is."""
    ending = "" if path is None else Path(path).suffix.lower()
    if path is not None and ending not in LOGS:
        raise ValueError(f"--log: expected a name that ends in {', '.join(LOGS)}, got {path}")
    return ending


def _optimizer(arguments: argparse.Namespace, recipe: Recipe, epochs: int) -> Optimizer:
    name = arguments.optimizer or recipe.optimizer
    is_own = name == recipe.optimizer
    decay = recipe.weight_decay if arguments.weight_decay is None and is_own else arguments.weight_decay
    optimizer = OPTIMIZERS[name](**({} if decay is None else {"weight_decay": decay}))
    rate = recipe.learning_rate if is_own else LEARNING_RATE if name == "sgd" else None
    rate = rate if arguments.learning_rate is None else arguments.learning_rate
    if rate is not None:
        optimizer.learning_rate = rate
    optimizer.learning_rate = _schedule(arguments.schedule or recipe.schedule, optimizer.rate, epochs)
    return optimizer


def _schedule(name: str, rate: float, epochs: int) -> float | Schedule:
    if name == "cosine":
        return CosineDecay(rate, epochs, warmup=min(1.0, epochs / 10))
    return OneCycle(rate, epochs) if name == "onecycle" else rate


def _augmentations(names: str | None, size: int, white: float) -> list[Augmentation]:
    if names is None:
        return []
    augmentations = []
    for name in names.split(","):
        if name not in AUGMENTATIONS:
            raise ValueError(f"--augment: expected names among {','.join(AUGMENTATIONS)}, got {name!r}")
        augmentations.append(AUGMENTATIONS[name](size, white))
    return augmentations
