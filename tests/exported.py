"""Exported models in ONNX Runtime: what the tests of the export share."""

import numpy as np
import pytest

from cnnx.export.model import make_graph
from cnnx.layers.base import leaves

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

TOLERANCE = 1e-5


def session(content):
    """A model's bytes, or its file, ready to run on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run(model, X, output=None):
    """What ONNX Runtime computes, (examples, *output_shape), and the checked model that it does so with."""
    graph, signature = make_graph(model.layers, model.input_shape, output)
    onnx.checker.check_model(graph.model, full_check=True)
    y = session(graph.model.SerializeToString()).run([signature.output], {signature.input: X})[0]
    assert y.shape == (len(X), *signature.output_shape)
    assert y.dtype == np.float32
    return y, graph.model


def predictions(model, X):
    """What the file of a model is to give by default."""
    try:
        return model.predict_proba(X)
    except (TypeError, ValueError):  # no probabilities, or no output layer
        return model.forward(X)


def assert_agrees(model, X):
    """ONNX Runtime gives what the model gives; returns the exported model."""
    y, exported = run(model, X)
    expected = predictions(model, X)
    difference = np.abs(y - expected).max(initial=0)
    assert difference <= TOLERANCE * max(1, np.abs(expected).max(initial=0)), f"{difference} in {model}"
    return exported


def scatter(model, seed):
    """Give parameters and running averages values that training might, none of them the one that it starts from."""
    rng = np.random.default_rng(seed)
    for layer in leaves(model.layers):
        for key, value in layer.params.items():
            fan_in = value[..., 0].size if key == "W" else 1
            value[...] = rng.standard_normal(value.shape) / np.sqrt(fan_in)
        if "variance" in layer.state:
            shape = layer.state["variance"].shape
            layer.state = {
                "mean": rng.standard_normal(shape).astype(layer.dtype),
                "variance": rng.uniform(0.5, 2, shape).astype(layer.dtype),
            }
