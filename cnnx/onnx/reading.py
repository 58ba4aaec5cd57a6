"""From a file that a stranger may have made to a graph of plain values.

The file is read once, up to a limit, and its bytes are walked through (`wire`) before protobuf sees them. Nothing in it
names another file, a class or an attribute of an object here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from cnnx._typing import Array
from cnnx.checks.files import open_regular
from cnnx.onnx.graph import Graph, Node, Value
from cnnx.onnx.tensors import decode
from cnnx.onnx.wire import scan

MOST_BYTES = 2**30
MOST_NODES = 5_000
# Operators have meant the same in all of these versions, but for what the operators' functions tell apart.
OLDEST_OPSET, NEWEST_OPSET = 7, 26
DOMAINS = {"": "", "ai.onnx": "", "ai.onnx.ml": "ai.onnx.ml"}


def read_graph(path: str | os.PathLike[str]) -> Graph:
    """The graph of an ONNX file.

    Raises
    ------
    ValueError
        If it is none, or not one that cnnx reads; the message is a reason, and does not name the file.
    OSError
        If the file cannot be read.
    ImportError
        If onnx, the extra `onnx`, is missing.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > MOST_BYTES:
            raise ValueError(f"expected at most {MOST_BYTES} bytes, got {size}")
        data = file.read(size)
    scan(data)
    return _graph(_parsed(data), len(data))


def _parsed(data: bytes) -> Any:
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise ImportError('cnnx.onnx needs onnx: pip install "cnnx[onnx]"') from error
    try:
        return onnx.load_model_from_string(data)
    except DecodeError:
        raise ValueError("its bytes are no ONNX model") from None


def _graph(model: Any, size: int) -> Graph:
    graph = model.graph
    if not 0 < len(graph.node) <= MOST_NODES:
        raise ValueError(f"expected a graph of at least one node and at most {MOST_NODES}, got {len(graph.node)}")
    nodes = [_node(index, node) for index, node in enumerate(graph.node)]
    constants = Constants(graph.initializer)
    _check_names(graph, nodes, constants)
    inputs = [_value(value) for value in graph.input if value.name not in constants]
    if len(inputs) != 1:
        raise ValueError(f"expected one input, got {[value.name for value in inputs]!s:.200}")
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    outputs = [_value(value) for value in graph.output]
    return Graph(nodes, constants, inputs[0], outputs, _opset(model), metadata, model.producer_name, size)


class Constants(Mapping[str, Array]):
    """The arrays of a graph's initializers, made when they are first asked for."""

    def __init__(self, tensors: Any) -> None:
        self._tensors = {tensor.name: tensor for tensor in tensors}
        self._arrays: dict[str, Array] = {}

    def __getitem__(self, name: str) -> Array:
        if name not in self._arrays:
            self._arrays[name] = decode(self._tensors[name], name)
        return self._arrays[name]

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def _check_names(graph: Any, nodes: list[Node], constants: Constants) -> None:
    """Every name stands for one thing."""
    if len(constants) != len(graph.initializer):
        raise ValueError("two of its tensors have the same name")
    names = [value.name for value in graph.input if value.name not in constants]
    names += [name for node in nodes for name in node.outputs if name]
    if len({*names, *constants}) != len(names) + len(constants):
        raise ValueError("a name stands for two values")


def _opset(model: Any) -> int:
    """The version of the standard operators."""
    versions = {entry.domain: entry.version for entry in model.opset_import}
    version = versions.get("", versions.get("ai.onnx", 0))
    if not OLDEST_OPSET <= version <= NEWEST_OPSET:
        raise ValueError(f"expected operators of opset {OLDEST_OPSET} to {NEWEST_OPSET}, got {version}")
    return int(version)


def _node(index: int, node: Any) -> Node:
    if node.domain not in DOMAINS:
        raise ValueError(
            f"node {node.name or index!r} ({node.op_type}): its operator is of the domain {node.domain!r:.60}, which "
            "cnnx does not know"
        )
    attributes = {attribute.name: _attribute(attribute) for attribute in node.attribute}
    if len(attributes) != len(node.attribute):
        raise ValueError(f"node {node.name or index!r} ({node.op_type}): two attributes have the same name")
    names = tuple(node.input), tuple(node.output)
    return Node(index, node.name, DOMAINS[node.domain], node.op_type, *names, attributes)


def _attribute(attribute: Any) -> Any:
    """The value of an attribute, by the number of its type; a type that no operator here has stands for itself."""
    match attribute.type:
        case 1:
            return float(attribute.f)
        case 2:
            return int(attribute.i)
        case 3:
            return attribute.s.decode("utf-8", "backslashreplace")
        case 4:
            return attribute.t
        case 6:
            return [float(value) for value in attribute.floats]
        case 7:
            return [int(value) for value in attribute.ints]
        case 8:
            return [value.decode("utf-8", "backslashreplace") for value in attribute.strings]
        case _:
            return ("type", attribute.type)


def _value(value: Any) -> Value:
    """An input or output; of another kind than a tensor, such as a sequence, the type is 0."""
    if value.type.WhichOneof("value") != "tensor_type":
        return Value(value.name, 0, None)
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return Value(value.name, kind.elem_type, None)
    shape = tuple(size.dim_value if size.WhichOneof("value") == "dim_value" else None for size in kind.shape.dim)
    return Value(value.name, kind.elem_type, shape)
