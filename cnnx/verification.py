"""Compares the compiled kernels with their NumPy twins on a user's own model and data, layer by layer.

Each layer is given the same input and the same upstream gradient on both backends, those that the NumPy
kernels computed. So a difference is that layer's own, and one that flips a ReLU or the winner of a pooling
window cannot grow through the layers behind it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from cnnx import _kernels
from cnnx._kernels import use_backend
from cnnx._typing import Array
from cnnx.checks.arrays import check_batch
from cnnx.layers.base import Layer
from cnnx.layers.residual import ResidualLayer
from cnnx.network import Model
from cnnx.summary import format_table

GRADIENT = "gradient of "
TOLERANCES = {"float32": 1e-4, "float64": 1e-10}


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
        For each layer its output, input gradient, parameter gradients and state: the largest absolute difference,
        divided by the largest absolute value of the NumPy result; for parameter gradients, by the largest of all of
        the layer's. (Before batch normalization, the gradient of a bias is a sum that is zero but for rounding.)
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
        return "\n".join([*format_table(table), last])


def verify(model: Model, X: Array, y: Array, tolerance: float | None) -> Report:
    """One forward and one backward pass of each layer on both backends."""
    if tolerance is None:
        tolerance = TOLERANCES[model.dtype.name]
    x = check_batch(X, model.input_shape, model.dtype, "X")
    needed = [layer.needs_input_gradient for layer in model.layers]
    gradients = model.gradients.copy()
    try:
        for layer in model.layers:
            layer.needs_input_gradient = True
        report = Report(_compare(model, x, y), tolerance)
    finally:
        model.gradients[...] = gradients
        for layer, need in zip(model.layers, needed, strict=True):
            layer.needs_input_gradient = need
            layer.forget()
    if not report.passed:
        raise VerificationError(f"the compiled kernels differ from their NumPy twins\n{report}")
    return report


def _compare(model: Model, x: Array, y: Array) -> list[Row]:
    output = model._output_layer("verify")
    targets = output.encode(y)
    *layers, _ = model.layers
    with use_backend("numpy"):
        inputs = _inputs(layers, x)

    def loss_and_gradient() -> dict[str, Array]:
        predictions, losses = output.loss(inputs[-1], targets, training=True)
        return {"output": predictions, "loss": losses, "input gradient": output.loss_backward(targets)}

    rows, exact = _on_both(output, loss_and_gradient)
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
    for layer, x in zip(reversed(layers), reversed(inputs[:-1]), strict=True):
        if isinstance(layer, ResidualLayer):
            found, grad = _compare_block(layer, x, grad)
        else:
            found, exact = _on_both(layer, partial(_pass, layer, x, grad))
            grad = exact["input gradient"]
        rows = found + rows
    return rows, grad


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
        input_gradient = layer.backward(grad)
        assert input_gradient is not None  # needs_input_gradient is set
        results["input gradient"] = input_gradient
        results.update({f"{GRADIENT}{key}": value.copy() for key, value in layer.grads.items()})
        results.update(layer.state)
    return results


def _on_both(layer: Layer, compute: Callable[[], dict[str, Array]]) -> tuple[list[Row], dict[str, Array]]:
    """Differences of the compiled from the NumPy results, and the latter."""
    with use_backend("numpy"):
        exact = compute()
    with use_backend("compiled"):
        compiled = compute()
    gradients = [value for name, value in exact.items() if name.startswith(GRADIENT)]
    return [
        Row(layer.name, name, _difference(compiled[name], value, gradients if name.startswith(GRADIENT) else [value]))
        for name, value in exact.items()
    ], exact


def _difference(value: Array, exact: Array, measures: list[Array]) -> float:
    if not exact.size:
        return 0.0
    largest = max(float(np.abs(measure).max(initial=0)) for measure in measures)
    difference = float(np.abs(value - exact).max())
    return difference / largest if largest else difference
