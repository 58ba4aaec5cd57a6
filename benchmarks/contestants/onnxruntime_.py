"""ONNX Runtime: inference of the graph an exporter would write (NCHW)."""

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from benchmarks.networks import (
    BATCH_NORM_EPSILON,
    BatchNorm,
    Convolution,
    Dense,
    Dropout,
    Flatten,
    MaxPool,
    Network,
    Relu,
    Weights,
    channels_first,
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


def _graph(network: Network, weights: Weights, shape: tuple[int, ...]) -> onnx.ModelProto:
    nodes, constants, last = [], [], "images"

    def add(operation: str, arrays: dict[str, np.ndarray] | None = None, **attributes: object) -> None:
        nonlocal last
        number = len(nodes)
        named = {f"{name}_{number}": array for name, array in (arrays or {}).items()}
        constants.extend(numpy_helper.from_array(array, name) for name, array in named.items())
        nodes.append(helper.make_node(operation, [last, *named], [f"y_{number}"], **attributes))
        last = f"y_{number}"

    pairs = channels_first(network, weights)
    for (layer, example), pair in zip(with_input_shapes(network), pairs, strict=True):
        match layer:
            case Convolution(_, size, padding):
                add("Conv", {"W": pair[0], "b": pair[1]}, kernel_shape=[size] * 2, pads=[padding] * 4)
            case BatchNorm():
                zeros, ones = np.zeros(example[2], np.float32), np.ones(example[2], np.float32)
                statistics = {"scale": ones, "shift": zeros, "mean": zeros, "variance": ones}
                add("BatchNormalization", statistics, epsilon=BATCH_NORM_EPSILON)
            case Relu():
                add("Relu")
            case MaxPool(size):
                add("MaxPool", kernel_shape=[size] * 2, strides=[size] * 2)
            case Flatten():
                add("Flatten")
            case Dropout():
                pass  # nothing at inference
            case Dense():
                add("Gemm", {"W": pair[0], "b": pair[1]})
    add("Softmax", axis=1)
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, None)],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
