"""What a user chooses of how a single step is taken, checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cnnx.checks.arguments import check_instances
from cnnx.optimizers import Optimizer, check_optimizer
from cnnx.regularizers import Regularizer
from cnnx.schedules import Schedule


def check_step(
    optimizer: Any, learning_rate: Any, regularizers: Sequence[Regularizer]
) -> tuple[Optimizer, tuple[Regularizer, ...]]:
    """Those of `Model.train_on_batch`: an optimizer that keeps its state, with a rate that is a number."""
    if isinstance(optimizer, str):
        raise TypeError(
            f"train_on_batch: optimizer: expected an Optimizer, which keeps its state from step to step, got "
            f"{optimizer!r}"
        )
    chosen = check_optimizer(optimizer, learning_rate, "train_on_batch")
    if isinstance(chosen.learning_rate, Schedule):
        raise ValueError(
            f"train_on_batch: learning_rate: expected a number, got {chosen.learning_rate!r}, which counts epochs"
        )
    return chosen, check_instances(regularizers, Regularizer, "regularizers")
