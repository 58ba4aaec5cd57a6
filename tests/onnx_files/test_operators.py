"""Operators become layers that compute what ONNX Runtime computes, or are refused by name."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from onnx_graphs import agree, flat, helper, kinds, loaded, make, node, numpy_helper, saved

import cnnx

drawn = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
RNG = np.random.default_rng(0)


def weights(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def refused(folder, model, *parts, output="regression"):
    with pytest.raises(ValueError, match="not a network that cnnx can read") as error:
        loaded(folder, model, output)
    for part in ("graph.onnx", *parts):
        assert part in str(error.value)


# -- Convolutions ----------------------------------------------------------------------------------------


@st.composite
def windows(draw, dilated=True):
    """Attributes of a window that fits into the image, and the image's size."""
    size = [draw(st.integers(1, 3)) for _ in range(2)]
    dilation = [draw(st.integers(1, 2)) if dilated else 1 for _ in range(2)]
    image = [draw(st.integers(d * (f - 1) + 1, 9)) for f, d in zip(size, dilation, strict=True)]
    attributes = {"kernel_shape": size, "strides": [draw(st.integers(1, 3)) for _ in range(2)]}
    if dilated:
        attributes["dilations"] = dilation
    how = draw(st.sampled_from(("none", "pads", "VALID", "SAME_UPPER", "SAME_LOWER")))
    if how == "pads":
        # Less than the window on each side, as ONNX Runtime demands of pooling.
        attributes["pads"] = [draw(st.integers(0, size[axis % 2] - 1)) for axis in range(4)]
    elif how != "none":
        attributes["auto_pad"] = how
        # ONNX Runtime counts pads below zero where the stride is longer than the window.
        attributes["strides"] = [min(pair) for pair in zip(size, attributes["strides"], strict=True)]
        if how != "VALID":
            attributes["dilations"] = [1, 1]  # ONNX Runtime has no other with these
    if not dilated:
        attributes.pop("dilations", None)
    return attributes, image


@drawn
@given(windows(), st.sampled_from((1, 2, 4)), st.booleans())
def test_convolutions_agree(tmp_path, window, groups, biased):
    attributes, image = window
    constants = {"W": weights(8, 4 // groups, *attributes["kernel_shape"])} | ({"b": weights(8)} if biased else {})
    convolution = node("Conv", "x", *constants, to="c", group=groups, **attributes)
    network = agree(tmp_path, make(flat([convolution], "c"), [4, *image], constants))
    assert ("DepthwiseConvolutionLayer" in kinds(network)) == (groups == 4)


def test_asymmetric_pads_are_a_layer_before_the_convolution(tmp_path):
    constants = {"W": weights(2, 3, 3, 3)}
    convolution = node("Conv", "x", "W", to="c", pads=[0, 2, 1, 0])
    network = agree(tmp_path, make(flat([convolution], "c"), [3, 6, 5], constants))
    assert kinds(network)[:2] == ["PaddingLayer", "ConvolutionLayer"]
    assert network.layers[0].padding == ((0, 1), (2, 0))


def test_pads_as_keras_makes_them_are_the_layers_own(tmp_path):
    constants = {"W": weights(2, 3, 3, 3)}
    convolution = node("Conv", "x", "W", to="c", pads=[0, 0, 1, 1], strides=[2, 2])
    network = agree(tmp_path, make(flat([convolution], "c"), [3, 6, 8], constants))
    assert network.layers[0].padding == "same"


def test_auto_pad_counts_the_holes_of_a_dilated_filter(tmp_path):
    # As the standard has it; ONNX Runtime refuses, so that the same pads are written down for it.
    constants = {"W": weights(2, 1, 3, 3)}
    automatic = node("Conv", "x", "W", to="c", auto_pad="SAME_LOWER", dilations=[2, 3], strides=[2, 2])
    written = node("Conv", "x", "W", to="c", pads=[2, 3, 2, 2], dilations=[2, 3], strides=[2, 2])
    expected = agree(tmp_path, make(flat([written], "c"), [1, 7, 8], constants))
    network = loaded(tmp_path, make(flat([automatic], "c"), [1, 7, 8], constants))
    x = weights(2, 7, 8, 1)
    np.testing.assert_array_equal(network.predict(x), expected.predict(x))


@drawn
@given(st.data())
def test_transposed_convolutions_agree(tmp_path, data):
    draw = data.draw
    size, stride = ([draw(st.integers(1, 3)) for _ in range(2)] for _ in range(2))
    dilation = [draw(st.integers(1, 2)) for _ in range(2)]
    image = [draw(st.integers(2, 5)) for _ in range(2)]
    more = [draw(st.integers(0, s - 1)) for s in stride]
    attributes = {"strides": stride, "dilations": dilation, "output_padding": more}
    full = [
        (n - 1) * s + d * (f - 1) + 1 + m for n, s, d, f, m in zip(image, stride, dilation, size, more, strict=True)
    ]
    if draw(st.booleans()):
        top, left = (draw(st.integers(0, (f - 1) // 2)) for f in full)
        bottom, right = (draw(st.integers(0, f - b - 1)) for f, b in zip(full, (top, left), strict=True))
        attributes["pads"] = [top, left, bottom, right]
    else:
        attributes["output_shape"] = [draw(st.integers(n, f)) for n, f in zip(image, full, strict=True)]
        attributes["auto_pad"] = draw(st.sampled_from(("NOTSET", "SAME_UPPER", "SAME_LOWER")))
    constants = {"W": weights(3, 2, *size), "b": weights(2)}
    model = make(flat([node("ConvTranspose", "x", "W", "b", to="c", **attributes)], "c"), [3, *image], constants)
    try:
        agree(tmp_path, model)
    except ValueError as error:
        # Much more is left away before the image than behind it.
        assert "no layer for the pads" in str(error)  # noqa: PT017
        assert "output_padding" in str(error)  # noqa: PT017


def test_products_with_the_channels_of_each_pixel_are_convolutions(tmp_path):
    # As in ConvNeXt.
    nodes = [
        node("Conv", "x", "D", to="a", group=3, pads=[1, 1, 1, 1]), node("Transpose", "a", to="b", perm=[0, 2, 3, 1]),
        node("LayerNormalization", "b", "s", "s", to="c"), node("MatMul", "c", "V", to="d"),
        node("Add", "d", "t", to="e"),
        node("Relu", "e", to="f"), node("MatMul", "f", "W", to="g"), node("Mul", "s", "g", to="h"),
        node("Transpose", "h", to="i", perm=[0, 3, 1, 2]), node("Add", "x", "i", to="j"),
    ]  # fmt: skip
    constants = {"D": weights(3, 1, 3, 3), "s": weights(3), "V": weights(3, 6), "t": weights(6), "W": weights(6, 3)}
    network = agree(tmp_path, make(flat(nodes, "j"), [3, 4, 5], constants))
    assert [type(layer).__name__ for layer in network.layers[0].layers] == [
        "DepthwiseConvolutionLayer", "LayerNormLayer", "ConvolutionLayer", "ReluLayer", "ConvolutionLayer",
    ]  # fmt: skip


# -- Pooling ---------------------------------------------------------------------------------------------


@drawn
@given(windows(dilated=False), st.sampled_from(("MaxPool", "AveragePool", "counted")))
def test_pooling_agrees(tmp_path, window, kind):
    attributes, image = window
    if kind == "counted":
        attributes["count_include_pad"] = 1
    pool = node("AveragePool" if kind == "counted" else kind, "x", to="c", **attributes)
    try:
        # Below zero, so that zeros around an image would be the largest pixels.
        shifted = [node("Sub", "x", "ten", to="below"), node(pool.op_type, "below", to="c", **attributes)]
        agree(tmp_path, make(flat(shifted, "c"), [2, *image], {"ten": np.float32(10)}))
    except ValueError as error:
        # Padding before the window that only a wider one on both sides could give.
        assert "expected less than the window's size" in str(error)  # noqa: PT017
        assert "pads" in attributes


def test_a_max_pool_with_asymmetric_pads_never_takes_a_zero(tmp_path):
    for pads, expected in (
        ([0, 0, 1, 1], ["PoolLayer"]),  # as Keras' 'same'
        ([1, 1, 0, 0], ["PoolLayer"]),
        ([0, 1, 1, 0], ["PoolLayer", "CroppingLayer"]),
    ):
        nodes = [
            node("Sub", "x", "ten", to="b"),
            node("MaxPool", "b", to="c", kernel_shape=[3, 3], strides=[2, 2], pads=pads),
        ]
        network = agree(tmp_path, make(flat(nodes, "c"), [2, 6, 6], {"ten": np.float32(10)}))
        assert kinds(network)[1:-2] == expected


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
def test_ceil_mode_is_read_where_it_changes_nothing(tmp_path, operator):
    for side, fits in ((6, True), (7, False)):
        pool = node(operator, "x", to="c", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
        model = make(flat([pool], "c"), [2, side, 6])
        if fits:
            agree(tmp_path, model)
        else:
            refused(tmp_path, model, f"node 'the c' ({operator})", "ceil_mode")


@pytest.mark.parametrize(
    "reduce",
    [
        node("GlobalAveragePool", "x", to="c"),
        node("GlobalMaxPool", "x", to="c"),
        node("ReduceMean", "x", to="c", axes=[2, 3]),
        node("ReduceMean", "x", to="c", axes=[-1, -2], keepdims=0),
        node("ReduceMax", "x", to="c", axes=[2, 3]),
    ],
    ids=lambda each: f"{each.op_type}-{len(each.attribute)}",
)
def test_global_pooling_agrees(tmp_path, reduce):
    network = agree(tmp_path, make([reduce, node("Flatten", "c", to="y")], [3, 4, 5]))
    assert kinds(network) == ["GlobalPoolLayer", "RegressionLayer"]


def test_a_convolution_of_one_pixel_behind_global_pooling_is_a_dense_layer(tmp_path):
    nodes = [node("GlobalAveragePool", "x", to="p"), node("Conv", "p", "W", "b", to="c"), node("Relu", "c", to="r")]
    constants = {"W": weights(4, 3, 1, 1), "b": weights(4)}
    network = agree(tmp_path, make([*nodes, node("Flatten", "r", to="y")], [3, 4, 5], constants))
    assert kinds(network) == ["GlobalPoolLayer", "DenseLayer", "ReluLayer", "RegressionLayer"]


# -- Shapes ----------------------------------------------------------------------------------------------


def test_flatten_with_channels_first_puts_the_rows_of_weights_in_order(tmp_path):
    gemm = node("Gemm", "f", "W", "b", to="y", transB=1, alpha=0.5, beta=2.0)
    for flatten in (
        [node("Flatten", "x", to="f")],
        [node("Reshape", "x", "shape", to="f")],
        [node("Reshape", "x", "two", to="g"), node("Reshape", "g", "shape", to="f")],
        [node("Transpose", "x", to="g", perm=[0, 3, 1, 2]), node("Flatten", "g", to="f")],
        [node("Squeeze", "x", "none", to="g"), node("Flatten", "g", to="f")],
    ):
        constants = {
            "W": weights(4, 24), "b": weights(4), "shape": np.array([-1, 24]), "two": np.array([0, 6, 4]),
            "none": np.array([], np.int64),
        }  # fmt: skip
        if flatten[0].op_type == "Squeeze":
            flatten = [node("Unsqueeze", "x", "one", to="h"), node("Squeeze", "h", "one", to="g"), flatten[1]]
            constants["one"] = np.array([2])
        network = agree(tmp_path, make([*flatten, gemm], [2, 3, 4], constants))
        assert kinds(network) == ["Flatten", "DenseLayer", "RegressionLayer"]


def test_the_batch_may_come_from_a_shape(tmp_path):
    nodes = [
        node("Shape", "x", to="s"), node("Gather", "s", "zero", to="n"), node("Unsqueeze", "n", "axes", to="m"),
        node("Concat", "m", "rest", to="shape", axis=0), node("Reshape", "x", "shape", to="f"),
        node("MatMul", "f", "W", to="y"),
    ]  # fmt: skip
    constants = {"zero": np.array(0), "axes": np.array([0]), "rest": np.array([-1]), "W": weights(24, 3)}
    agree(tmp_path, make(nodes, [2, 3, 4], constants))


def test_a_batch_of_fixed_length_becomes_one_of_any(tmp_path):
    nodes = [node("Reshape", "x", "shape", to="f"), node("MatMul", "f", "W", to="y")]
    model = make(nodes, [2, 3, 4], {"shape": np.array([5, 24]), "W": weights(24, 3)})
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 5
    assert loaded(tmp_path, model).predict(weights(7, 3, 4, 2)).shape == (7, 3)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    refused(tmp_path, model, "node 'the f' (Reshape)", "the batch first")


def test_images_may_get_their_channel_in_the_network(tmp_path):
    convolution = node("Conv", "i", "W", to="c")
    added = [node("Unsqueeze", "x", "axes", to="i"), convolution]
    constants = {"axes": np.array([1]), "W": weights(2, 1, 3, 3), "shape": np.array([-1, 1, 5, 6])}
    assert agree(tmp_path, make(flat(added, "c"), [5, 6], constants)).input_shape == (5, 6, 1)
    moved = [node("Reshape", "x", "shape", to="i"), convolution]  # as Keras turns round images of one channel
    assert agree(tmp_path, make(flat(moved, "c"), [5, 6, 1], constants), channels_last=True).input_shape == (5, 6, 1)


def test_values_that_would_come_in_another_order_are_refused(tmp_path):
    refused(tmp_path, make([node("Flatten", "x", to="y")], [3, 2, 2]), "output", "in cnnx's order")
    mixed = [node("Reshape", "x", "shape", to="c"), *flat([], "c")]
    refused(tmp_path, make(mixed, [4, 3, 3], {"shape": np.array([-1, 6, 6])}), "node")


def test_weights_may_lie_behind_constants_identities_and_transposes(tmp_path):
    values = weights(24, 3)
    constant = helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(values.T.copy()))
    nodes = [
        constant, node("Identity", "k", to="i"), node("Transpose", "i", to="W"),
        helper.make_node("Cast", ["b64"], ["b"], to=1),
    ]  # fmt: skip
    nodes += [node("Flatten", "x", to="f"), node("Gemm", "f", "W", "b", to="y")]
    agree(tmp_path, make(nodes, [2, 3, 4], {"b64": np.array([0.5, 1, 2])}))


def test_images_are_told_by_what_the_network_does_with_them(tmp_path):
    last = [node("Transpose", "x", to="t", perm=[0, 3, 1, 2]), node("Conv", "t", "W", to="c")]
    constants = {"W": weights(2, 4, 3, 3)}
    network = agree(tmp_path, make(flat(last, "c"), [4, 4, 4], constants), channels_last=True)
    assert network.input_shape == (4, 4, 4)
    first = [node("Conv", "x", "W", to="c")]
    assert agree(tmp_path, make(flat(first, "c"), [4, 5, 6], constants)).input_shape == (5, 6, 4)


# -- Constants -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (3, 1, 1), (1, 3, 1, 1), (3, 4, 5)])
def test_constants_before_the_first_layer_standardize(tmp_path, shape):
    nodes = [
        node("Mul", "x", "scale", to="a"), node("Sub", "a", "mean", to="b"), node("Div", "b", "deviation", to="c"),
    ]  # fmt: skip
    constants = {"scale": np.float32(1 / 255), "mean": weights(*shape), "deviation": np.abs(weights(*shape)) + 1}
    network = agree(tmp_path, make(flat(nodes, "c"), [3, 4, 5], {k: np.float32(v) for k, v in constants.items()}))
    assert kinds(network) == ["StandardizeLayer", "Flatten", "RegressionLayer"]


def test_an_inverted_input_is_no_standardized_one(tmp_path):
    model = make(flat([node("Sub", "one", "x", to="c")], "c"), [2, 3, 3], {"one": np.float32(1)})
    assert kinds(agree(tmp_path, model)) == ["DepthwiseConvolutionLayer", "Flatten", "RegressionLayer"]
    model = make(flat([node("Div", "x", "none", to="c")], "c"), [2, 3, 3], {"none": np.zeros((2, 1, 1), np.float32)})
    refused(tmp_path, model, "finite")


@pytest.mark.parametrize(
    "operator", ["Conv", "Depthwise", "ConvTranspose", "BatchNormalization", "InstanceNormalization"]
)
def test_constants_behind_weights_are_taken_in(tmp_path, operator):
    constants = {
        "W": weights(4, 1, 3, 3) if operator == "Depthwise" else weights(4, 4, 3, 3),
        "b": weights(4), "v": np.abs(weights(4)), "s": weights(4, 1, 1), "t": weights(1, 4, 1, 1),
        "half": np.float32(0.5),
    }  # fmt: skip
    inputs = {"BatchNormalization": ["b", "b", "b", "v"], "InstanceNormalization": ["v", "b"]}.get(operator, ["W", "b"])
    extra = {"group": 4} if operator == "Depthwise" else {}
    first = node("Conv" if operator == "Depthwise" else operator, "x", *inputs, to="c", **extra)
    nodes = [
        first, node("Mul", "s", "c", to="d"), node("Sub", "t", "d", to="e"), node("Mul", "e", "half", to="f"),
        node("Relu", "f", to="g"),
    ]  # fmt: skip
    network = agree(tmp_path, make(flat(nodes, "g"), [4, 5, 5], constants))
    assert len(network.layers) == 4


def test_constants_elsewhere_are_a_layer_of_single_pixels_or_part_of_the_next_dense_layer(tmp_path):
    constants = {"s": weights(3, 1, 1), "t": weights(3, 1, 1), "W": weights(3, 2), "u": weights(3), "v": weights(1, 3)}
    nodes = [
        node("Relu", "x", to="a"), node("Mul", "a", "s", to="b"), node("Add", "b", "t", to="c"),
        node("GlobalMaxPool", "c", to="d"), node("Flatten", "d", to="e"), node("Mul", "e", "u", to="f"),
        node("Add", "f", "v", to="g"), node("MatMul", "g", "W", to="y"),
    ]  # fmt: skip
    network = agree(tmp_path, make(nodes, [3, 4, 4], constants))
    assert kinds(network) == [
        "ReluLayer", "DepthwiseConvolutionLayer", "GlobalPoolLayer", "DenseLayer", "RegressionLayer",
    ]  # fmt: skip
    refused(tmp_path, make([*nodes[:5], node("Mul", "e", "u", to="y")], [3, 4, 4], constants), "a layer gives")


def test_a_signal_that_others_take_too_keeps_its_weights(tmp_path):
    nodes = [node("Conv", "x", "W", to="a"), node("Mul", "a", "s", to="b"), node("Add", "a", "b", to="c")]
    agree(tmp_path, make(flat(nodes, "c"), [3, 4, 4], {"W": weights(3, 3, 1, 1), "s": weights(3, 1, 1)}))
    nodes = [
        node("Relu", "x", to="r"), node("Mul", "r", "half", to="a"), node("Mul", "a", "s", to="b"),
        node("Add", "a", "b", to="c"),
    ]  # fmt: skip
    agree(tmp_path, make(flat(nodes, "c"), [3, 4, 4], {"half": np.float32(0.5), "s": weights(3, 1, 1)}))


# -- Functions of a value --------------------------------------------------------------------------------

SINGLE = {
    "Relu": ("ReluLayer", {}, 17),
    "LeakyRelu": ("LeakyReluLayer", {"alpha": 0.2}, 17),
    "Elu": ("EluLayer", {"alpha": 0.5}, 17),
    "Selu": ("SeluLayer", {}, 17),
    "Sigmoid": ("SigmoidLayer", {}, 17),
    "Tanh": ("TanhLayer", {}, 17),
    "Softplus": ("SoftplusLayer", {}, 17),
    "HardSwish": ("HardSwishLayer", {}, 17),
    "Celu": ("EluLayer", {}, 17),
    "Gelu": ("GeluLayer", {}, 20),
}


@pytest.mark.parametrize("operator", SINGLE)
def test_activations_agree(tmp_path, operator):
    kind, attributes, opset = SINGLE[operator]
    model = make(flat([node(operator, "x", to="c", **attributes)], "c"), [2, 3, 4], opset=opset)
    assert kinds(agree(tmp_path, model, scale=4.0))[0] == kind


FORMULAS = {
    "SiluLayer": ["Sigmoid x a", "Mul x a c"],
    "GeluLayer": ["Div x root a", "Erf a b", "Add b one d", "Mul x half e", "Mul e d c"],
    "HardSwishLayer": ["HardSigmoid x a", "Mul a x c"],
    "HardSwishLayer ": ["Add x three a", "Clip a zero six b", "Mul x b d", "Div d six c"],
    "SoftplusLayer": ["Exp x a", "Add one a b", "Log b c"],
    "LeakyReluLayer": ["Mul x half a", "Max x a c"],
    "LeakyReluLayer ": ["Relu x a", "Neg x b", "Relu b d", "Mul d half e", "Sub a e c"],
    "ReluLayer": ["Max x zero c"],
    "ReluLayer ": ["Clip x zero - c"],
}
NUMBERS = {"zero": 0, "half": 0.5, "one": 1, "two": 2, "three": 3, "six": 6, "root": np.sqrt(2)}


def formula(lines):
    nodes = []
    for line in lines:
        operator, *names, to = line.split()
        attributes = {"alpha": 1 / 6} if operator == "HardSigmoid" else {}
        nodes.append(node(operator, *("" if name == "-" else name for name in names), to=to, **attributes))
    return make(flat(nodes, "c"), [2, 3, 4], {name: np.float32(value) for name, value in NUMBERS.items()})


@pytest.mark.parametrize("kind", FORMULAS)
def test_formulas_of_activations_agree(tmp_path, kind):
    assert kinds(agree(tmp_path, formula(FORMULAS[kind]), scale=4.0))[0] == kind.strip()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["Clip x zero six c"], "ReLU6"),
        (["Relu x a", "Min a six c"], "ReLU6"),
        (["HardSigmoid x c"], "a hard sigmoid"),
        (["Abs x c"], "the absolute value"),
        (["Softplus x a", "Tanh a b", "Mul x b c"], "two values"),
        (["Exp x a", "Mul a x c"], "this function of a value"),
        (["Sin x c"], "no layer for this operator"),
        (["Concat x x c"], "concatenation"),
        (["Relu x a", "Tanh x b", "Mul a b c"], "this function of a value"),
    ],
)
def test_functions_without_a_layer_are_refused_by_name(tmp_path, lines, said):
    model = formula(lines)
    for each in model.graph.node:
        if each.op_type == "Concat":
            each.attribute.add(name="axis", type=2, i=1)
    refused(tmp_path, model, said, "node 'the c'")


def test_prelu_has_a_slope_for_each_channel(tmp_path):
    model = make(flat([node("PRelu", "x", "s", to="c")], "c"), [3, 2, 2], {"s": np.abs(weights(3, 1, 1))})
    assert kinds(agree(tmp_path, model))[0] == "PReluLayer"


# -- Normalization ---------------------------------------------------------------------------------------


def test_group_normalization_as_instance_normalization_of_groups(tmp_path):
    nodes = [
        node("Reshape", "x", "groups", to="a"), node("InstanceNormalization", "a", "one", "zero", to="b"),
        node("Reshape", "b", "back", to="c"), node("Mul", "c", "s", to="d"), node("Add", "d", "s", to="e"),
    ]  # fmt: skip
    constants = {
        "groups": np.array([0, 2, -1]), "back": np.array([0, 4, 3, 5]), "s": weights(4, 1, 1),
        "one": np.ones(2, np.float32), "zero": np.zeros(2, np.float32),
    }  # fmt: skip
    network = agree(tmp_path, make(flat(nodes, "e"), [4, 3, 5], constants))
    assert kinds(network) == ["GroupNormLayer", "Flatten", "RegressionLayer"]
    assert network.layers[0].groups == 2


def test_layer_normalization_as_operator_and_as_formula(tmp_path):
    constants = {"s": weights(4), "t": weights(4), "u": weights(4, 1, 1), "e": np.float32(1e-3)}
    operator = [
        node("Transpose", "x", to="a", perm=[0, 2, 3, 1]), node("LayerNormalization", "a", "s", "t", to="b", axis=-1),
        node("Transpose", "b", to="c", perm=[0, 3, 1, 2]),
    ]  # fmt: skip
    written = [
        node("ReduceMean", "x", to="m", axes=[1]), node("Sub", "x", "m", to="d"), node("Mul", "d", "d", to="q"),
        node("ReduceMean", "q", to="v", axes=[1]), node("Add", "v", "e", to="w"), node("Sqrt", "w", to="r"),
        node("Div", "d", "r", to="n"), node("Mul", "n", "u", to="k"), node("Add", "k", "u", to="c"),
    ]  # fmt: skip
    for nodes in (operator, written):
        network = agree(tmp_path, make(flat(nodes, "c"), [4, 3, 5], constants))
        assert kinds(network) == ["LayerNormLayer", "Flatten", "RegressionLayer"]


@pytest.mark.parametrize(("opset", "length"), [(18, 2), (21, 4)])
def test_group_normalization_of_both_kinds(tmp_path, opset, length):
    nodes = flat([node("GroupNormalization", "x", "s", "t", to="c", num_groups=2)], "c")
    model = make(nodes, [4, 3, 3], {"s": weights(length), "t": weights(length)}, opset=opset)
    network = loaded(tmp_path, model)
    assert network.layers[0].groups == 2
    np.testing.assert_array_equal(network.layers[0].params["gamma"], np.repeat(weights(length), 4 // length))


# -- Resizing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how",
    [
        {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
        {"mode": "nearest"},
        {
            "mode": "nearest",
            "coordinate_transformation_mode": "pytorch_half_pixel",
            "nearest_mode": "round_prefer_ceil",
        },
        {"mode": "linear"},
        {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"},
    ],
)
@pytest.mark.parametrize("scales", [(2, 3), (1, 4), (5, 1)])
def test_upsampling_agrees(tmp_path, how, scales):
    constants = {"scales": np.array([1, 1, *scales], np.float32)}
    resize = node("Resize", "x", "", "scales", to="c", **how)
    network = agree(tmp_path, make(flat([resize], "c"), [2, 3, 4], constants))
    assert network.layers[0].size == scales
    sized = node("Resize", "x", "", "", "sizes", to="c", **how)
    sizes = {"sizes": np.array([2, 2, 3 * scales[0], 4 * scales[1]])}
    agree(tmp_path, make(flat([sized], "c"), [2, 3, 4], sizes))


@pytest.mark.parametrize(
    "how",
    [
        {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "ceil"},
        {"mode": "nearest", "coordinate_transformation_mode": "align_corners"},
        {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
        {"mode": "linear", "coordinate_transformation_mode": "asymmetric"},
        {"mode": "cubic"},
    ],
)
def test_other_ways_to_resize_are_refused(tmp_path, how):
    resize = node("Resize", "x", "", "scales", to="c", **how)
    model = make(flat([resize], "c"), [2, 3, 4], {"scales": np.array([1, 1, 2, 2], np.float32)})
    refused(tmp_path, model, "node 'the c' (Resize)")


@drawn
@given(st.lists(st.integers(-1, 2), min_size=4, max_size=4), st.booleans())
def test_pads_grow_and_crop(tmp_path, pads, last):
    top, left, bottom, right = pads
    amounts = [0, top, left, 0, 0, bottom, right, 0] if last else [0, 0, top, left, 0, 0, bottom, right]
    nodes = [node("Pad", "t" if last else "x", "pads", to="p")]
    if last:
        nodes = [node("Transpose", "x", to="t", perm=[0, 2, 3, 1]), *nodes, node("Flatten", "p", to="y")]
    agree(tmp_path, make(nodes if last else flat(nodes, "p"), [2, 3, 4], {"pads": np.array(amounts)}))


@drawn
@given(st.integers(-5, 4), st.integers(1, 9), st.integers(0, 2), st.integers(-2, 5))
def test_slices_of_images_agree_or_leave_nothing(tmp_path, top, bottom, left, right):
    constants = {"starts": np.array([top, left]), "ends": np.array([bottom, right]), "axes": np.array([2, -1])}
    model = make(flat([node("Slice", "x", "starts", "ends", "axes", to="c")], "c"), [2, 5, 4], constants)
    if len(range(5)[top:bottom]) and len(range(4)[left:right]):
        agree(tmp_path, model)
    else:
        refused(tmp_path, model, "leaves nothing")


# -- Ends ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [9, 12, 13, 17])
def test_softmax_has_the_axes_of_its_opset(tmp_path, opset):
    constants = {"W": weights(3, 4)}
    dense = node("MatMul", "x", "W", to="a")
    default = agree(tmp_path, make([dense, node("Softmax", "a", to="y")], [3], constants, opset), None)
    assert kinds(default) == ["DenseLayer", "SoftmaxLayer"]
    whole = [node("GlobalAveragePool", "x", to="p"), node("Softmax", "p", to="s"), node("Flatten", "s", to="y")]
    model = make(whole, [3, 2, 2], opset=opset)
    if opset < 13:  # over all axes behind the batch
        agree(tmp_path, model, None)
    else:  # over the last axis, which has one element
        refused(tmp_path, model, "softmax over all values", output=None)


def test_a_sigmoid_of_one_value_may_be_given_for_both_classes(tmp_path):
    nodes = [
        node("MatMul", "x", "W", to="a"), node("Sigmoid", "a", to="p"), node("Sub", "one", "p", to="q"),
        node("Concat", "q", "p", to="y", axis=1),
    ]  # fmt: skip
    network = agree(tmp_path, make(nodes, [3], {"W": weights(3, 1), "one": np.float32(1)}), None)
    assert kinds(network) == ["DenseLayer", "SigmoidLayer"]


@pytest.mark.parametrize("output", ["softmax", "sigmoid", "hinge", "regression"])
def test_scores_get_the_output_layer_that_is_asked_for(tmp_path, output):
    model = make([node("MatMul", "x", "W", to="y")], [3], {"W": weights(3, 4)})
    assert kinds(loaded(tmp_path, model, output))[-1].lower() == f"{output}layer"
    assert kinds(loaded(tmp_path, model, None))[-1] == "SoftmaxLayer"


def test_an_output_layer_that_is_there_is_not_given_another(tmp_path):
    nodes = [node("MatMul", "x", "W", to="a"), node("Softmax", "a", to="y")]
    model = make(nodes, [3], {"W": weights(3, 4)})
    assert kinds(loaded(tmp_path, model, "softmax")) == ["DenseLayer", "SoftmaxLayer"]
    refused(tmp_path, model, "ends in SoftmaxLayer", output="hinge")
    one = make([node("MatMul", "x", "W", to="y")], [3], {"W": weights(3, 1)})
    refused(tmp_path, one, "output='sigmoid'", output=None)
    with pytest.raises(ValueError, match="expected one of"):
        cnnx.onnx.load(saved(tmp_path / "a", one), "logits")


# -- Additions -------------------------------------------------------------------------------------------


def test_additions_in_additions_are_blocks_in_blocks(tmp_path):
    constants = {name: weights(2, 2, 1, 1) * (1 + number) for number, name in enumerate("ABCD")}
    nodes = [
        node("Conv", "x", "A", to="a"), node("Conv", "a", "B", to="b"), node("Relu", "b", to="r"),
        node("Add", "r", "a", to="c"), node("Conv", "c", "C", to="d"), node("Sum", "d", "c", "x", to="e"),
        node("Conv", "x", "D", to="f"), node("Add", "f", "e", to="g"),
    ]  # fmt: skip
    network = agree(tmp_path, make(flat(nodes, "g"), [2, 3, 3], constants))
    assert kinds(network) == ["ResidualLayer", "Flatten", "RegressionLayer"]


def test_ways_that_are_no_blocks_are_refused(tmp_path):
    constants = {name: weights(2, 2, 1, 1) for name in "AB"}
    nodes = [
        node("Conv", "x", "A", to="a"), node("Conv", "a", "B", to="b"), node("Add", "b", "x", to="c"),
        node("Add", "c", "a", to="d"),
    ]  # fmt: skip
    refused(tmp_path, make(flat(nodes, "d"), [2, 3, 3], constants), "several ways")
    twice = agree(tmp_path, make(flat([node("Sum", "x", "x", to="c")], "c"), [2, 3, 3]))
    assert kinds(twice) == ["ResidualLayer", "Flatten", "RegressionLayer"]
    refused(tmp_path, make(flat([nodes[0], node("Mul", "a", "x", to="c")], "c"), [2, 3, 3], constants), "multiplies")
