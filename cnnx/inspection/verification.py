"""Compares the compiled kernels with their NumPy twins on a user's own model and data, layer by layer.

Each layer is given the same input and the same upstream gradient on both backends, those that the NumPy
kernels computed. So a difference is that layer's own, and one that flips a ReLU or the winner of a pooling
window cannot grow through the layers behind it. Layers that a step computes together are compared once more as it
does, backward from what the NumPy kernels kept forward.

A difference is what is more than rounding: a loss near 0 is a difference of numbers that are not, and so is the
gradient of a probability near 1. There is no telling it more exactly than these numbers are rounded.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import numpy as np

from cnnx import _kernels
from cnnx._kernels import use_backend
from cnnx._typing import Array
from cnnx.layers.base import Layer
from cnnx.layers.loss import OutputLayer
from cnnx.layers.residual import ResidualLayer
from cnnx.plan.fusion import fuse
from cnnx.plan.passes import Pass
from cnnx.plan.tables import format_table

GRADIENT = "gradient of "
TOLERANCES = {"float32": 1e-4, "float64": 1e-10}
ROUNDINGS = 4  # of the numbers that a loss is made of


class VerificationError(ArithmeticError):
    """A difference above the tolerance; the message has the table."""


@dataclass(frozen=True)
class Row:
    """The largest relative difference of one array of one layer."""

    layer: str
    array: str
    difference: float


@dataclass(frozen=True)
class Report:
    """Differences of the two backends, layer by layer.

    Attributes
    ----------
    rows : list of Row
        For each layer, and for layers that are computed together, the output, input gradient, parameter gradients and
        state: the largest absolute difference, less the rounding of what it is made of where that is a loss or its
        gradient, divided by the largest absolute value of the NumPy result; for parameter gradients, by the largest of
        all of the layer's. (Before batch normalization, the gradient of a bias is a sum that is zero but for rounding.)
    tolerance : float
    """

    rows: list[Row]
    tolerance: float

    @property
    def largest(self) -> float:
        """The largest difference of all; NaN if any is NaN."""
        return float(np.max([row.difference for row in self.rows]))

    @property
    def passed(self) -> bool:
        """Whether every difference is within the tolerance."""
        return self.largest <= self.tolerance

    def __str__(self) -> str:
        table = [("Layer", "Array", "", "Difference")]
        for row in self.rows:
            mark = "" if row.difference <= self.tolerance else "above the tolerance"
            table.append((row.layer, row.array, mark, f"{row.difference:.1e}"))
        verdict = "within" if self.passed else "ABOVE"
        last = f"Largest difference {self.largest:.1e}, {verdict} the tolerance {self.tolerance:.0e}."
        return "\n".join([*format_table(table, right=[3]), last])


def verify(layers: Sequence[Layer], output: OutputLayer, x: Array, y: Array, tolerance: float | None) -> Report:
    """One forward and one backward pass of each layer on both backends, from a checked batch; changes their `grads`."""
    if tolerance is None:
        tolerance = TOLERANCES[x.dtype.name]
    try:
        report = Report(_compare(layers, output, x, y), tolerance)
    finally:
        for layer in (*layers, output):
            layer.forget()
    if not report.passed:
        raise VerificationError(f"the compiled kernels differ from their NumPy twins\n{report}")
    return report


def _compare(layers: Sequence[Layer], output: OutputLayer, x: Array, y: Array) -> list[Row]:
    with use_backend("numpy"):
        inputs, targets = _inputs(layers, x), output.targets(y)
        predictions, losses = output.loss(inputs[-1], targets)
    rates = output.rate(predictions, targets)

    def loss_and_gradient() -> dict[str, Array]:
        results = dict(zip(("output", "loss"), output.loss(inputs[-1], targets, training=True), strict=True))
        results["input gradient"] = output.loss_backward(targets)
        results.update({"targets": output.targets(y), "metric": output.rate(predictions, targets)})
        results["sums"] = np.empty(3)
        _kernels.batch_sums(losses, rates, None, results["sums"])
        return results

    largest = _largest([predictions, targets])
    of_loss = max(1.0, largest, _largest([inputs[-1]]))
    scales = {"loss": of_loss, "input gradient": largest / max(len(x), 1)}
    rows, exact = _on_both(output, loss_and_gradient, scales)
    return _compare_way(layers, inputs, exact["input gradient"])[0] + rows


def _inputs(layers: Sequence[Layer], x: Array) -> list[Array]:
    """What goes into each layer, and what comes out of the last."""
    inputs = [x]
    for layer in layers:
        inputs.append(layer.forward(inputs[-1]))
    return inputs


def _compare_way(layers: Sequence[Layer], inputs: list[Array], grad: Array) -> tuple[list[Row], Array]:
    """Differences of layers in a row, and the exact gradient with respect to the first one's input."""
    rows: list[Row] = []
    gradients = [grad]
    for layer, x in zip(reversed(layers), reversed(inputs[:-1]), strict=True):
        if isinstance(layer, ResidualLayer):
            found, grad = _compare_block(layer, x, grad)
        else:
            found, exact = _on_both(layer, partial(_pass, layer, x, grad))
            grad = exact["input gradient"]
        rows = found + rows
        gradients.insert(0, grad)
    first = 0
    for pass_ in fuse(layers, training=True):
        last = first + len(pass_.layers)
        if len(pass_.layers) > 1 and not pass_.ways:
            rows += _compare_pass(pass_, inputs[first], gradients[last])
        first = last
    return rows, grad


def _compare_pass(pass_: Pass, x: Array, grad: Array) -> list[Row]:
    """Differences of layers that are computed together."""

    def compute() -> dict[str, Array]:
        results = {"output": pass_.forward(x)}
        with use_backend("numpy"):  # no other ReLU may be closed, nor another place be the largest
            pass_.forward(x)
        below = pass_.backward(grad)
        assert below is not None  # without a plan, a pass gives it
        results["input gradient"] = below
        for layer in pass_.layers:
            results.update({f"{GRADIENT}{key}": value.copy() for key, value in layer.grads.items()})
        return results

    with ExitStack() as rehearsals:
        for layer in pass_.layers:
            rehearsals.enter_context(layer.rehearsal())
        found, _ = _on_both(pass_.layers[0], compute)
    names = f"{pass_.layers[0].name} to {pass_.layers[-1].name}"
    return [Row(names, row.array, row.difference) for row in found]


def _compare_block(block: ResidualLayer, x: Array, grad: Array) -> tuple[list[Row], Array]:
    """Differences of the layers inside, and of the two sums."""
    with use_backend("numpy"):
        through, past = _inputs(block.layers, x), _inputs(block.shortcut, x)
    rows, through_gradient = _compare_way(block.layers, through, grad)
    past_rows, past_gradient = _compare_way(block.shortcut, past, grad)

    def sums() -> dict[str, Array]:
        results = {"output": np.empty_like(grad), "input gradient": np.empty_like(x)}
        _kernels.add(through[-1], past[-1], False, results["output"])
        _kernels.add(through_gradient, past_gradient, False, results["input gradient"])
        return results

    found, exact = _on_both(block, sums)
    return rows + past_rows + found, exact["input gradient"]


def _pass(layer: Layer, x: Array, grad: Array) -> dict[str, Array]:
    """Copies of all that one forward and one backward pass compute; random numbers are the same each time."""
    with layer.rehearsal():
        results = {"output": layer.forward(x, training=True)}
        results["input gradient"] = layer.backward(grad)
        results.update({f"{GRADIENT}{key}": value.copy() for key, value in layer.grads.items()})
        results.update(layer.state)
    return results


def _on_both(
    layer: Layer, compute: Callable[[], dict[str, Array]], scales: Mapping[str, float] | None = None
) -> tuple[list[Row], dict[str, Array]]:
    """Differences of the compiled from the NumPy results, and the latter.

    `scales` has the largest numbers that a result is made of, where these are larger than the result.
    """
    with use_backend("numpy"):
        exact = compute()
    with use_backend("compiled"):
        compiled = compute()
    gradients = [value for name, value in exact.items() if name.startswith(GRADIENT)]
    rows = []
    for name, value in exact.items():
        rounding = ROUNDINGS * float(np.finfo(layer.dtype).eps) * (scales or {}).get(name, 0.0)
        measures = gradients if name.startswith(GRADIENT) else [value]
        rows.append(Row(layer.name, name, _difference(compiled[name], value, measures, rounding)))
    return rows, exact


def _largest(arrays: Sequence[Array]) -> float:
    return max(float(np.abs(array).max(initial=0)) for array in arrays)


def _difference(value: Array, exact: Array, measures: Sequence[Array], rounding: float) -> float:
    if not exact.size:
        return 0.0
    difference = float(np.abs(value - exact).max()) - rounding
    if difference <= 0:
        return 0.0
    largest = _largest(measures)
    return difference / largest if largest else difference
