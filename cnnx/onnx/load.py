"""The door: an ONNX file becomes a Model."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Literal

import numpy as np

from cnnx._typing import Shape
from cnnx.files.tensors import parse_json
from cnnx.layers import HingeLayer, RegressionLayer, SigmoidLayer, SoftmaxLayer
from cnnx.layers.base import Layer
from cnnx.layers.loss import OutputLayer
from cnnx.network import Model
from cnnx.onnx.blocks import Row, arrange
from cnnx.onnx.graph import Graph, Value
from cnnx.onnx.layout import Layout, channels_first, merged, rows
from cnnx.onnx.network import Signal
from cnnx.onnx.operators import OPERATORS
from cnnx.onnx.reading import read_graph
from cnnx.onnx.walk import NodeError, Walk

Output = Literal["softmax", "sigmoid", "hinge", "regression"]
OUTPUTS: dict[str, type[OutputLayer]] = {
    "softmax": SoftmaxLayer,
    "sigmoid": SigmoidLayer,
    "hinge": HingeLayer,
    "regression": RegressionLayer,
}
OURSELVES = "cnnx"
# What our own files call what goes into these layers.
OWN_OUTPUTS = {"scores": "hinge", "values": "regression"}
# Of an example; an image of 8192 x 8192 pixels has three times as many.
MOST_VALUES = 2**26
FLOATS = (1, 11)
# Who writes images as they are, channels last, and turns them round in the graph.
CHANNELS_LAST = (OURSELVES, "tf2onnx")
# Images of so many channels are told from images with channels last.
FEW_CHANNELS = (1, 2, 3, 4)


def load(path: str | os.PathLike[str], output: Output | None = None) -> Model:
    """Read a network from an ONNX file, such as PyTorch, Keras, scikit-learn's converter and `Model.to_onnx` write.

    The network is a row of layers, which may part into two ways that are added again. It becomes layers of cnnx, with
    the file's weights, and can be trained on. Images are (height, width, channels), as everywhere in cnnx, whatever
    the file has.

    Parameters
    ----------
    path : str or path-like
    output : {'softmax', 'sigmoid', 'hinge', 'regression'}, optional
        The output layer of a network that ends in scores (logits) or values: `SoftmaxLayer`, `SigmoidLayer`,
        `HingeLayer` or `RegressionLayer`. By default that is softmax, where there are two scores or more. A network
        that ends in a softmax (or its logarithm) or a sigmoid has its output layer already.

    Returns
    -------
    Model
        Built; float32, or float64 if the file's input is. `predict_proba` gives the file's probabilities, and if the
        file has scores, `predict_proba` those that `output` makes of them. `Model.class_names` and `Model.pixel_max`
        are set where the file says them.

    Raises
    ------
    ValueError
        If it is no ONNX file, or holds what is no such network; the message names the file, the node and the reason.
    OSError
        If the file cannot be read.
    ImportError
        If onnx, the extra `onnx`, is missing.
    """
    if output is not None and output not in OUTPUTS:
        raise ValueError(f"cnnx.onnx.load: output: expected one of {tuple(OUTPUTS)} or None, got {output!r}")
    try:
        graph = read_graph(path)
        name = _output_name(graph)
        if output is None and graph.producer == OURSELVES:
            output = OWN_OUTPUTS.get(name)  # type: ignore[assignment]
        walk, signal = _walk(graph, name)
        return _model(graph, walk, signal, output)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{os.fspath(path)}: not a network that cnnx can read: {error}") from None


def _output_name(graph: Graph) -> str:
    """The one output that is numbers: beside it there may be labels, which are made of it."""
    zipped = {name for node in graph.nodes if node.operator == "ZipMap" for name in node.outputs}
    names = [value.name for value in graph.outputs if value.type in FLOATS or value.name in zipped]
    if len(names) != 1:
        raise ValueError(f"expected one output of numbers, got {names!s:.200}")
    return names[0]


# -- The input -------------------------------------------------------------------------------------------


def _walk(graph: Graph, name: str) -> tuple[Walk, Signal]:
    """The walk with the first idea of the input's axes that leads to the end."""
    dtype = np.dtype(np.float64 if graph.input.type == 11 else np.float32)
    furthest: NodeError | None = None
    for shape, layout in _ideas(_example_shape(graph.input), graph.producer):
        walk = Walk(graph, shape, layout, dtype)
        try:
            return walk, walk.run(name, OPERATORS)
        except NodeError as failure:
            if furthest is None or failure.index > furthest.index:
                furthest = failure
    assert furthest is not None  # there is an idea
    raise furthest


def _example_shape(value: Value) -> Shape:
    if value.shape is None or not 2 <= len(value.shape) <= 5:
        raise ValueError(f"input {value.name!r}: expected a batch of examples, got shape {value.shape}")
    sizes = tuple(size for size in value.shape[1:] if size is not None and size > 0)
    if len(sizes) < len(value.shape) - 1:
        raise ValueError(
            f"input {value.name!r}: expected the size of each axis behind the batch, got {value.shape}; export the "
            "network with these sizes fixed"
        )
    if math.prod(sizes) > MOST_VALUES:
        raise ValueError(f"input {value.name!r}: expected at most {MOST_VALUES} values, got {sizes}")
    return sizes


def _ideas(sizes: Shape, producer: str) -> list[tuple[Shape, Layout]]:
    """cnnx's shape of an example, and how ONNX's axes lie in it, likelier ones first."""
    as_given = (sizes, rows(sizes))
    if len(sizes) == 2:
        return [as_given, ((*sizes, 1), rows(sizes))]
    if len(sizes) != 3:
        return [as_given]
    turned = (*sizes[1:], sizes[0])
    first = (turned, channels_first(turned))
    last = producer in CHANNELS_LAST or (sizes[2] in FEW_CHANNELS and sizes[0] not in FEW_CHANNELS)
    return [as_given, first] if last else [first, as_given]


# -- The output ------------------------------------------------------------------------------------------


def _model(graph: Graph, walk: Walk, signal: Signal, output: str | None) -> Model:
    if signal.line is not None or (merged(part for axis in signal.layout for part in axis),) != rows(
        (math.prod(signal.shape),)
    ):
        raise ValueError("output: expected a vector of each example that a layer gives, in cnnx's order")
    row = arrange(walk.network.steps, walk.network.flattened(signal).step)
    last = row[-1][0] if row else None
    row += _output_layers(last, signal.shape[-1], output)
    model = Model(*(layer for layer, _ in row))
    model.build(walk.network.input_shape, dtype=walk.network.dtype, params=[params for _, params in row])
    if walk.class_names is not None:
        model.class_names = walk.class_names
    if graph.producer == OURSELVES:
        _describe(model, graph.metadata)
    return model


def _output_layers(last: Layer | None, count: int, output: str | None) -> Row:
    """The output layer, if the network does not end in one."""
    if isinstance(last, OutputLayer):
        kind = next(name for name, layer in OUTPUTS.items() if isinstance(last, layer))
        if output in (None, kind):
            return []
        if not last.may_be_hidden:
            raise ValueError(f"it ends in {type(last).__name__}: output: expected {kind!r} or None, got {output!r}")
    elif output is None and count == 1:
        raise ValueError("it ends in one value: say output='sigmoid' for two classes, or output='regression'")
    return [(OUTPUTS[output or "softmax"](), {})]


def _describe(model: Model, metadata: Mapping[str, str]) -> None:
    """What a file of our own says of the data."""
    for key in ("class_names", "pixel_max"):
        if key in metadata:
            try:
                setattr(model, key, parse_json(metadata[key]))
            except (ValueError, TypeError) as error:
                raise ValueError(f"metadata {key!r}: {error}") from None
