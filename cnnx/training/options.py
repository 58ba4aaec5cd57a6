"""What a user chooses of how a model is trained, checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cnnx.augmentation.base import AnyAugmentation
from cnnx.augmentation.sequence import check_augmentations
from cnnx.checks.arguments import check_count, check_instances
from cnnx.optimizers import Optimizer, check_optimizer
from cnnx.regularizers import Regularizer
from cnnx.schedules import Schedule
from cnnx.training.run import Callback


class Options(NamedTuple):
    """Of a run; its arguments are explained in `Model.train`."""

    optimizer: Optimizer
    epochs: int
    regularizers: tuple[Regularizer, ...]
    callbacks: tuple[Callback, ...]
    augment: tuple[AnyAugmentation, ...]


def check_options(
    optimizer: Optimizer | str | None,
    learning_rate: float | Schedule | None,
    epochs: int,
    regularizers: Sequence[Regularizer],
    callbacks: Sequence[Callback],
    augment: Sequence[AnyAugmentation],
) -> Options:
    """The arguments of `Model.train` that do not depend on model and data."""
    return Options(
        check_optimizer(optimizer, learning_rate, "train"),
        check_count(epochs, "epochs"),
        check_instances(regularizers, Regularizer, "regularizers"),
        check_instances(callbacks, Callback, "callbacks"),
        check_augmentations(augment),
    )
