"""ONNX Runtime: inference of the graph that an exporter of PyTorch would write.

Images are NCHW, as ONNX's operators take them: a graph for NHWC images, such as `Model.to_onnx` writes, begins with a
transposition that ONNX Runtime would have to pay for. The batch is fixed, which lets it plan its memory; batch
normalisation is left to it, which folds it into the convolution when it loads the model.
"""

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from benchmarks.networks import (
    BATCH_NORM_EPSILON,
    AveragePool,
    BatchNorm,
    Convolution,
    Dense,
    Depthwise,
    Flatten,
    GlobalPool,
    Layer,
    MaxPool,
    Network,
    Relu,
    Residual,
    Shape,
    Weights,
    channels_first,
    ways,
    with_input_shapes,
)


class Contestant:
    def __init__(self, threads: int) -> None:
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = threads
        self.options.inter_op_num_threads = 1

    def inference(self, network: Network, weights: Weights, X: np.ndarray) -> Callable[[], np.ndarray]:
        images = np.ascontiguousarray(X.transpose(0, 3, 1, 2))
        model = _graph(network, weights, images.shape).SerializeToString()
        session = onnxruntime.InferenceSession(model, self.options, providers=["CPUExecutionProvider"])
        return lambda: session.run(None, {"images": images})[0]


def _graph(network: Network, weights: Weights, shape: Shape) -> onnx.ModelProto:
    graph = _Graph()
    last = graph.append(network, channels_first(network, weights), "images")
    last = graph.add("Softmax", [last], axis=1)
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)
    probabilities = helper.make_tensor_value_info(last, TensorProto.FLOAT, None)
    made = helper.make_graph(graph.nodes, "network", [images], [probabilities], graph.constants)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class _Graph:
    """Nodes and constants so far; a node's output is named by its number."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []

    def add(self, operator: str, inputs: list[str], *arrays: np.ndarray, **attributes: object) -> str:
        """The name of the output of a node for these inputs, which are followed by constants."""
        number = len(self.nodes)
        named = {f"constant_{number}_{index}": array for index, array in enumerate(arrays)}
        self.constants.extend(numpy_helper.from_array(array, name) for name, array in named.items())
        self.nodes.append(helper.make_node(operator, [*inputs, *named], [f"y_{number}"], **attributes))
        return f"y_{number}"

    def append(self, network: Network, weights: Weights, x: str) -> str:
        for (layer, shape), own in zip(with_input_shapes(network), weights, strict=True):
            if isinstance(layer, Residual):
                both = zip(ways(layer, shape), own, strict=True)
                x = self.add("Add", [self.append(way, its, x) for way, its in both])
            else:
                x = self.layer(layer, shape, own or (), x)
        return x

    def layer(self, layer: Layer, shape: Shape, own: tuple[np.ndarray, ...], x: str) -> str:
        match layer:
            case Convolution(_, size, padding, stride):
                return self.add("Conv", [x], *own, **_window(size, stride, padding))
            case Depthwise(size, padding, stride):
                return self.add("Conv", [x], *own, group=shape[2], **_window(size, stride, padding))
            case BatchNorm():
                zeros, ones = np.zeros(shape[2], np.float32), np.ones(shape[2], np.float32)
                return self.add("BatchNormalization", [x], ones, zeros, zeros, ones, epsilon=BATCH_NORM_EPSILON)
            case Relu():
                return self.add("Relu", [x])
            case MaxPool(size, stride, padding):
                return self.add("MaxPool", [x], **_window(size, stride, padding))
            case AveragePool(size, stride):
                return self.add("AveragePool", [x], **_window(size, stride, 0))
            case GlobalPool():
                return self.add("Flatten", [self.add("GlobalAveragePool", [x])])
            case Flatten():
                return self.add("Flatten", [x])
            case Dense():
                return self.add("Gemm", [x], *own)
        return x  # dropout does nothing at inference


def _window(size: int, stride: int, padding: int) -> dict[str, list[int]]:
    return {"kernel_shape": [size] * 2, "strides": [stride] * 2, "pads": [padding] * 4}
