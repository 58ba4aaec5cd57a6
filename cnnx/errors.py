"""Errors that are cnnx's own."""

from __future__ import annotations


class DivergenceError(FloatingPointError):
    """The loss, a gradient or an update became NaN or infinite; the model has the weights it had before that batch.

    Running averages and optimizer are as before, too. Random numbers are not: those that dropout, augmentation and the
    order of the examples have drawn for the batch stay drawn.
    """


class RankError(RuntimeError):
    """Another process of a run that several take together has failed; the message names its rank."""


def divergence(what: str, finite_inputs: bool, learning_rate: float) -> DivergenceError:
    """The error for a step that came to something not finite; `what` says it."""
    if not finite_inputs:
        return DivergenceError(f"{what} because X has NaN or infinite values; remove or replace them")
    return DivergenceError(
        f"{what}; try a smaller learning rate (it is {learning_rate:g}), inputs scaled to about "
        "[0, 1] or [-1, 1], or check the labels"
    )
