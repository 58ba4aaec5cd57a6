"""What a model gives, and what it is called: probabilities, or what goes into the output layer."""

from __future__ import annotations

from cnnx.export.graph import Graph, Value
from cnnx.layers.base import Layer
from cnnx.layers.loss import HingeLayer, OutputLayer, RegressionLayer, SigmoidLayer

PROBABILITIES, LOGITS = "probabilities", "logits"
OUTPUTS = (PROBABILITIES, LOGITS)
# What goes into these output layers is their predictions.
WITHOUT_PROBABILITIES: dict[type[Layer], str] = {HingeLayer: "scores", RegressionLayer: "values"}


def choose_output(last: Layer, output: str | None) -> str:
    """The name of what a model with this last layer gives, if `output` is asked for.

    Raises
    ------
    TypeError, ValueError
        If it cannot give that.
    """
    where = "Model.to_onnx: output: expected"
    if output is not None and output not in OUTPUTS:
        raise ValueError(f"{where} one of {OUTPUTS} or None, got {output!r}")
    if not isinstance(last, OutputLayer):
        if output is not None:
            raise ValueError(f"{where} None, for {last.name} is no output layer, got {output!r}")
        return "output"
    if type(last) not in WITHOUT_PROBABILITIES:
        return output or PROBABILITIES
    if output == PROBABILITIES:
        raise TypeError(f"{where} {LOGITS!r} or None, for {last.name} has no probabilities, got {output!r}")
    return WITHOUT_PROBABILITIES[type(last)]


def of_each_class(graph: Graph, last: Layer, value: Value) -> Value:
    """Probabilities as `predict_proba` gives them: of a sigmoid by itself those of 0 and of 1."""
    if not isinstance(last, SigmoidLayer) or value.shape != (1,):
        return value
    other = graph.add("Sub", graph.constant("one", [1.0]), value.name)
    return Value(graph.add("Concat", other, value.name, axis=1), (2,))
