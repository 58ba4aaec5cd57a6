"""Learning rates that change in the course of training.

A schedule is a function of the epochs trained so far, with their fractions: ``schedule(2.5)`` is the rate in the
middle of the third epoch. A step takes the rate at its own middle, so that none is taken at the rate 0 that a warm-up
begins with or a decay ends with. `Optimizer.progress` counts the epochs over all training runs.
"""

from cnnx.schedules.base import Schedule
from cnnx.schedules.decay import CosineDecay, ExponentialDecay, OneCycle, StepDecay
from cnnx.schedules.plateau import ReduceOnPlateau

__all__ = ["CosineDecay", "ExponentialDecay", "OneCycle", "ReduceOnPlateau", "Schedule", "StepDecay"]
