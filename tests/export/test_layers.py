"""Each layer by itself, on drawn shapes: ONNX Runtime computes what the layer does."""

import numpy as np
import pytest
from exported import assert_agrees, scatter
from hypothesis import assume, given, settings, strategies as st
from parity import seeds

from cnnx import (
    BatchNormLayer,
    ConvolutionLayer,
    CroppingLayer,
    DenseLayer,
    DepthwiseConvolutionLayer,
    DropoutLayer,
    EluLayer,
    Flatten,
    GeluLayer,
    GlobalPoolLayer,
    GroupNormLayer,
    HardSwishLayer,
    HingeLayer,
    LayerNormLayer,
    LeakyReluLayer,
    Model,
    PaddingLayer,
    PoolLayer,
    PReluLayer,
    RegressionLayer,
    ReluLayer,
    ResidualLayer,
    SeluLayer,
    SigmoidLayer,
    SiluLayer,
    SoftmaxLayer,
    SoftplusLayer,
    SpatialDropoutLayer,
    StandardizeLayer,
    TanhLayer,
    TransposedConvolutionLayer,
    UpsampleLayer,
)
from cnnx.export.model import CONVERSIONS
from cnnx.layers import LAYERS


def pairs(least, most):
    """A number for both axes, or one for each."""
    numbers = st.integers(least, most)
    return numbers | st.tuples(numbers, numbers)


def margins(most):
    side = st.tuples(st.integers(0, most), st.integers(0, most))
    return pairs(0, most) | st.tuples(side, side)


paddings = st.sampled_from(["same", "same", "valid"]) | pairs(0, 3)
images = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 6))
vectors = st.tuples(st.integers(1, 12))
# Examples of other numbers of axes are taken by layers that look at single values, or at the last axis.
anything = images | vectors | st.tuples(st.integers(1, 5), st.integers(1, 5))
positive = st.floats(0.01, 3)


def layers(kind, shapes, **arguments):
    """A layer with drawn arguments, and a drawn shape of an example."""
    return st.tuples(st.builds(kind, **arguments), shapes)


@st.composite
def convolutions(draw):
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    layer = ConvolutionLayer(
        filters=groups * draw(st.integers(1, 4)),
        filter_size=draw(pairs(1, 5)),
        stride=draw(pairs(1, 3)),
        padding=draw(paddings),
        dilation=draw(pairs(1, 3)),
        groups=groups,
    )
    height, width, channels = draw(images)
    return layer, (height, width, channels * groups)


@st.composite
def transposed_convolutions(draw):
    stride, dilation = draw(pairs(1, 3)), draw(pairs(1, 3))
    most = np.maximum(stride, dilation).min() - 1
    layer = TransposedConvolutionLayer(
        filters=draw(st.integers(1, 4)),
        filter_size=draw(pairs(1, 4)),
        stride=stride,
        padding=draw(pairs(0, 2)),
        output_padding=draw(pairs(0, int(most))),
        dilation=dilation,
    )
    return layer, draw(images)


@st.composite
def group_normalizations(draw):
    groups, (*positions, channels) = draw(st.integers(1, 4)), draw(images | vectors)
    return GroupNormLayer(groups, draw(positive)), (*positions, channels * groups)


@st.composite
def poolings(draw):
    size = draw(pairs(1, 4))
    padding = draw(st.sampled_from(["same", "valid"]) | pairs(0, int(np.min(size)) - 1))
    stride, mode = draw(st.none() | pairs(1, 4)), draw(st.sampled_from(["max", "average"]))
    return PoolLayer(size, stride, mode, padding), draw(images)


@st.composite
def standardizations(draw):
    shape, per = draw(anything), draw(st.sampled_from(["channel", "value"]))
    rng = np.random.default_rng(draw(seeds))
    sizes = shape if per == "value" else shape[-1:]
    return StandardizeLayer(per, rng.normal(0, 2, sizes).tolist(), rng.uniform(0.2, 3, sizes).tolist()), shape


@st.composite
def residual_blocks(draw):
    shape = draw(images)
    activation = draw(st.sampled_from([ReluLayer, GeluLayer, LayerNormLayer, PReluLayer]))
    way = [ConvolutionLayer(shape[2], 3, padding="same"), BatchNormLayer()]
    block = draw(st.sampled_from(["plain", "bare", "shortcut", "flat", "nested"]))
    if block == "bare":
        return ResidualLayer(activation()), shape
    if block == "shortcut":
        return ResidualLayer(*way, activation(), shortcut=activation()), shape
    if block == "flat":
        return ResidualLayer(*way, Flatten(), shortcut=[Flatten(), DropoutLayer(0.5)]), shape
    return ResidualLayer(*way, *([ResidualLayer(activation())] if block == "nested" else [])), shape


CASES = {
    BatchNormLayer: layers(BatchNormLayer, images | vectors, epsilon=positive),
    ConvolutionLayer: convolutions(),
    CroppingLayer: layers(CroppingLayer, images, cropping=margins(2)),
    DenseLayer: layers(DenseLayer, vectors, units=st.integers(1, 9)),
    DepthwiseConvolutionLayer: layers(
        DepthwiseConvolutionLayer,
        images,
        filter_size=pairs(1, 5),
        multiplier=st.integers(1, 3),
        stride=pairs(1, 3),
        padding=paddings,
        dilation=pairs(1, 3),
    ),
    DropoutLayer: layers(DropoutLayer, anything, rate=st.just(0.5)),
    EluLayer: layers(EluLayer, anything, alpha=positive),
    Flatten: layers(Flatten, anything),
    GeluLayer: layers(GeluLayer, anything),
    GlobalPoolLayer: layers(GlobalPoolLayer, images, mode=st.sampled_from(["max", "average"])),
    GroupNormLayer: group_normalizations(),
    HardSwishLayer: layers(HardSwishLayer, anything),
    HingeLayer: layers(HingeLayer, st.tuples(st.integers(2, 9)), squared=st.booleans()),
    LayerNormLayer: layers(LayerNormLayer, anything, epsilon=positive),
    LeakyReluLayer: layers(LeakyReluLayer, anything, slope=positive),
    PReluLayer: layers(PReluLayer, anything),
    PaddingLayer: layers(PaddingLayer, images, padding=margins(3)),
    PoolLayer: poolings(),
    RegressionLayer: layers(RegressionLayer, vectors),
    ReluLayer: layers(ReluLayer, anything),
    ResidualLayer: residual_blocks(),
    SeluLayer: layers(SeluLayer, anything),
    SigmoidLayer: layers(SigmoidLayer, anything),
    SiluLayer: layers(SiluLayer, anything),
    SoftmaxLayer: layers(SoftmaxLayer, vectors, label_smoothing=st.sampled_from([0, 0.1])),
    SoftplusLayer: layers(SoftplusLayer, anything),
    SpatialDropoutLayer: layers(SpatialDropoutLayer, images, rate=st.just(0.5)),
    StandardizeLayer: standardizations(),
    TanhLayer: layers(TanhLayer, anything),
    TransposedConvolutionLayer: transposed_convolutions(),
    UpsampleLayer: layers(UpsampleLayer, images, size=pairs(1, 7), mode=st.sampled_from(["nearest", "bilinear"])),
}
# With many arguments, there is more to get wrong.
MORE = (ConvolutionLayer, DepthwiseConvolutionLayer, TransposedConvolutionLayer, PoolLayer, UpsampleLayer)


def test_every_layer_is_converted_and_tested():
    assert set(CASES) == set(CONVERSIONS) == set(LAYERS.values())


@pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.__name__)
def test_onnx_runtime_computes_what_a_layer_does(kind):
    @settings(max_examples=60 if kind in MORE else 15)
    @given(case=CASES[kind], turned=st.booleans(), batch=st.integers(1, 3), seed=seeds)
    def check(case, turned, batch, seed):
        layer, shape = case
        # Behind a layer for images, an image comes with its channels first.
        before = [CroppingLayer(0)] if turned and len(shape) == 3 and kind is not StandardizeLayer else []
        model = Model(*before, layer)
        try:
            model.build(shape, seed=0)
        except ValueError:  # a filter that does not fit
            assume(False)
        scatter(model, seed)
        X = np.random.default_rng(seed).standard_normal((batch, *shape)).astype(np.float32)
        exported = assert_agrees(model, 3 * X)
        assert not any(attribute.name == "auto_pad" for node in exported.graph.node for attribute in node.attribute)

    check()
