"""ONNX files as strangers would make them: good ones of every operator, and changes that know the format."""

import copy
from pathlib import Path

import numpy as np

NETWORKS = Path(__file__).parent.parent / "onnx" / "networks"
WHOLE = (0, 1, -1, 2, 3, 7, 64, 65_537, 2**24, 2**31 - 1, 2**31, 2**40, -(2**40), 2**62, 2**63 - 1, -(2**63))
NUMBERS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, 3e38, float("nan"), float("inf"), float("-inf"))
TEXTS = ("", "x", "y", "nothing", "SAME_UPPER", "SAME_LOWER", "VALID", "linear", "nearest", "com.example", "ai.onnx.ml")
# Operators that there is a layer for, some that there are none for, and one that ends in another graph.
OPERATORS = (
    *("Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat", "Constant", "ConstantOfShape", "Conv"),
    *("ConvTranspose", "Div", "Dropout", "Elu", "Erf", "Exp", "Flatten", "Gather", "Gelu", "Gemm", "GlobalAveragePool"),
    *("GroupNormalization", "HardSigmoid", "Identity", "If", "InstanceNormalization", "LayerNormalization", "Log"),
    *("LogSoftmax", "Loop", "MatMul", "Max", "MaxPool", "Min", "Mul", "Neg", "PRelu", "Pad", "Pow", "QLinearConv"),
    *("Reciprocal", "ReduceMax", "ReduceMean", "Relu", "Reshape", "Resize", "Scaler", "Shape", "Sigmoid", "Slice"),
    *("Softmax", "Sqrt", "Squeeze", "Sub", "Sum", "Tile", "Transpose", "Unsqueeze", "Upsample", "ZipMap"),
)


def good_files(folder):
    """The networks of other libraries, and a graph with the other operators."""
    for path in sorted(NETWORKS.glob("*.onnx")):
        yield path.read_bytes()
    from onnx import helper, numpy_helper

    def node(operator, *inputs, to, **attributes):
        return helper.make_node(operator, list(inputs), [to], name=to, **attributes)

    constants = {
        "w": np.ones((4, 4, 3, 3), np.float32), "c": np.ones((4, 1, 1), np.float32), "k": np.ones(2, np.float32),
        "scales": np.array([1, 1, 2, 2], np.float32), "pads": np.array([0, 0, 1, 0, 0, 0, 1, 0]),
        "groups": np.array([0, 2, -1]), "zero": np.array([0]), "two": np.array([2, 3]), "last": np.array([-1]),
        "six": np.array([6, 6]), "half": np.float32(0.5), "epsilon": np.float32(1e-3), "d": np.ones((4, 3), np.float32),
    }  # fmt: skip
    nodes = [
        node("Sub", "x", "c", to="s"), node("Pad", "s", "pads", to="p"),
        node("ConvTranspose", "p", "w", to="a", pads=[1, 1, 0, 0], strides=[2, 2]),
        node("Slice", "a", "two", "six", "two", to="b"), node("Resize", "b", "", "scales", to="e"),
        node("Reshape", "e", "groups", to="g"), node("InstanceNormalization", "g", "k", "k", to="h"),
        node("Shape", "e", to="z"), node("Reshape", "h", "z", to="i"), node("Mul", "i", "c", to="j"),
        node("ReduceMean", "j", to="m", axes=[1]), node("Sub", "j", "m", to="n"), node("Mul", "n", "n", to="o"),
        node("ReduceMean", "o", to="q", axes=[1]), node("Add", "q", "epsilon", to="r"), node("Sqrt", "r", to="t"),
        node("Div", "n", "t", to="u"), node("Conv", "u", "w", to="v", auto_pad="SAME_LOWER", group=1),
        node("HardSigmoid", "v", to="aa", alpha=1 / 6), node("Mul", "v", "aa", to="ab"),
        node("Add", "ab", "u", to="ac"),
        node("MaxPool", "ac", to="ad", kernel_shape=[2, 2], pads=[1, 0, 0, 1]),
        node("Dropout", "ad", "half", to="ae"), node("GlobalMaxPool", "ae", to="af"),
        node("Gather", "z", "zero", to="ag"), node("Concat", "ag", "last", to="ah", axis=0),
        node("Reshape", "af", "ah", to="ai"), node("Gemm", "ai", "d", to="aj", alpha=0.5),
        node("LogSoftmax", "aj", to="y"),
    ]  # fmt: skip
    ends = [helper.make_tensor_value_info("x", 1, ["n", 4, 5, 5]), helper.make_tensor_value_info("y", 1, ["n", 3])]
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:], tensors)
    yield helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


def messages(message):
    """A message and all that are in it."""
    found, waiting = [], [message]
    while waiting:
        message = waiting.pop()
        found.append(message)
        for _, value in message.ListFields():
            if hasattr(value, "ListFields"):
                waiting.append(value)
            elif hasattr(value, "add"):
                waiting.extend(value)
    return found


def names(model):
    """The names of values."""
    return [name for node in model.graph.node for name in (*node.input, *node.output)] or ["x"]


def odd(rng, value, model):
    """Another value of the same type."""
    if isinstance(value, float):
        return rng.choice((*NUMBERS, value * 2, -value))
    if isinstance(value, int):
        return rng.choice((*WHOLE, value + 1, value - 1, min(value * 2, 2**63 - 1)))
    if isinstance(value, str):
        return rng.choice((*TEXTS, *OPERATORS, rng.choice(names(model)), f"{value}x"))
    return rng.choice(
        (b"", value[: len(value) // 2], value + b"\0" * 4, b"\xff" * len(value), b"SAME_UPPER", value * 2)
    )


def change_field(rng, model):
    """One field of one message."""
    message = rng.choice(messages(model))
    fields = message.ListFields()
    if not fields:
        return
    field, value = rng.choice(fields)
    name = field.name
    if hasattr(value, "ListFields"):
        message.ClearField(name)
    elif not hasattr(value, "extend"):
        try:
            setattr(message, name, odd(rng, value, model))
        except (ValueError, TypeError):  # more than the field holds
            message.ClearField(name)
    else:
        change_list(rng, value, model)


def change_list(rng, values, model):
    """Entries taken away, doubled, in another order, or changed."""
    place = rng.randrange(len(values))
    match rng.randrange(4):
        case 0:
            del values[place]
        case 1:
            values.extend([copy.deepcopy(values[place])] * rng.choice((1, 2, 40)))
        case 2 if not hasattr(values, "add"):
            try:
                values[place] = odd(rng, values[place], model)
            except (ValueError, TypeError):
                del values[place:]
        case _:
            entries = [copy.deepcopy(value) for value in values]
            rng.shuffle(entries)
            del values[:]
            values.extend(entries)


def change_graph(rng, model):
    """What a field by itself does not change: operators, where they stand, and what they take."""
    nodes = model.graph.node
    if not nodes:
        return
    node = rng.choice(nodes)
    match rng.randrange(8):
        case 0:
            node.op_type = rng.choice(OPERATORS)
        case 1 if node.input:
            node.input[rng.randrange(len(node.input))] = rng.choice(names(model))
        case 2:
            bypass(model, node)
        case 3:
            attribute = node.attribute.add(
                name=rng.choice(("axis", "axes", "perm", "group", "pads", "strides", "alpha"))
            )
            attribute.type = rng.choice((1, 2, 3, 4, 5, 6, 7, 8, 11))
            attribute.ints.extend(rng.choices(WHOLE, k=rng.randrange(5)))
            attribute.i = rng.choice(WHOLE)
        case 4 if model.graph.initializer:
            tensor = rng.choice(model.graph.initializer)
            if rng.random() < 0.5:
                tensor.data_location = 1
            tensor.external_data.add(key=rng.choice(("location", "__class__", "offset")), value="/etc/hostname")
        case 5:
            values = np.array(rng.choices(WHOLE, k=rng.randrange(6)), np.int64)
            name = rng.choice(names(model))
            model.graph.initializer.add(name=f"{name}x", data_type=7, dims=values.shape, raw_data=values.tobytes())
            node.input.append(f"{name}x")
        case 6:
            chain(rng, model, node)
        case _:
            stranger = rng.choice((model.functions, model.training_info, model.graph.sparse_initializer))
            stranger.add()


def bypass(model, node):
    """Take an operator out."""
    given, made = (list(node.input) or [""])[0], set(node.output)
    model.graph.node.remove(node)
    for other in model.graph.node:
        for place, name in enumerate(other.input):
            if name in made:
                other.input[place] = given


def chain(rng, model, node):
    """Many operators of one kind behind another."""
    kind, last = rng.choice(("Relu", "Add", "Concat", "Identity", "Transpose", "Softmax", "Mul")), node.output[:1]
    if not last:
        return
    place = list(model.graph.node).index(node) + 1
    added, name = [], last[0]
    for number in range(rng.choice((3, 30, 300))):
        other = type(node)(op_type=kind, input=[name] * (2 if kind in ("Add", "Mul", "Concat") else 1))
        name = f"{last[0]}_{number}"
        other.output.append(name)
        added.append(other)
    nodes = [*model.graph.node[:place], *added, *model.graph.node[place:]]
    for other in nodes[place + len(added) :]:
        for index, taken in enumerate(other.input):
            if taken == last[0]:
                other.input[index] = name
    nodes = [copy.deepcopy(each) for each in nodes]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def change(rng, content, change_bytes):
    """Bytes, or what they say."""
    if rng.random() < 0.1:
        return change_bytes(rng, content)
    import onnx

    model = onnx.load_model_from_string(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        rng.choice((change_field, change_graph))(rng, model)
    content = model.SerializeToString()
    return content if rng.random() < 0.95 else change_bytes(rng, content)
