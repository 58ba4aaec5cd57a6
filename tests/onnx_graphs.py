"""ONNX graphs that tests write down themselves, and what ONNX Runtime computes of them."""

import numpy as np
import pytest

import cnnx
from cnnx.onnx import load

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
helper, numpy_helper, TensorProto = onnx.helper, onnx.numpy_helper, onnx.TensorProto


def node(operator, *inputs, to, domain="", **attributes):
    """One operator, whose inputs and outputs are names, with spaces between the outputs."""
    return helper.make_node(operator, list(inputs), to.split(), name=f"the {to}", domain=domain, **attributes)


def make(nodes, shape, constants=(), opset=17, outputs=("y",)):
    """A model with the input x, batches of examples of `shape`."""
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in dict(constants).items()]
    graph = helper.make_graph(nodes, "graph", [given], made, tensors)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, ir_version=8, opset_imports=imports)


def flat(nodes, last, to="y"):
    """The same nodes, and an image's values behind them as cnnx orders them."""
    return [
        *nodes,
        node("Transpose", last, to="turned", perm=[0, 2, 3, 1]),
        node("Flatten", "turned", to=to),
    ]


def saved(path, model):
    path.write_bytes(model.SerializeToString())
    return path


def loaded(folder, model, output="regression"):
    return load(saved(folder / "graph.onnx", model), output)


def agree(folder, model, output="regression", channels_last=False, scale=1.0):
    """Loads a model and compares it with ONNX Runtime; gives the loaded one."""
    network = loaded(folder, model, output)
    shape = tuple(size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim)[1:]
    x = (scale * np.random.default_rng(1).standard_normal((2, *shape))).astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    (expected,) = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"x": x})
    given = x if channels_last or x.ndim != 4 else np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    given = given.reshape(len(x), *network.input_shape)
    last = network.layers[-1]
    got = network.predict(given) if isinstance(last, cnnx.RegressionLayer) else network.predict_proba(given)
    expected = expected.reshape(got.shape)
    tolerance = 1e-5 * max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=tolerance)
    return network


def kinds(network):
    """The names of a model's layers."""
    return [type(layer).__name__ for layer in network.layers]
