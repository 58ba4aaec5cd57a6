"""What holds for every layer: gradients, caches, dtypes, memory layouts. A new layer is one line in `CASES`."""

import json

import numpy as np
import pytest

from cnnx.checks.arrays import check_batch
from cnnx.layers import (
    LAYERS,
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
    make_layer,
)
from cnnx.memory.arrays import Arrays
from cnnx.plan.fusion import fuse
from cnnx.plan.passes import Chain

CASES = [
    (lambda: ConvolutionLayer(filters=4, filter_size=3), (6, 5, 2)),
    (lambda: ConvolutionLayer(filters=3, filter_size=(2, 3), stride=(2, 3), padding=(1, 2)), (7, 8, 3)),
    (lambda: ConvolutionLayer(filters=2, filter_size=(4, 1), stride=3, padding="same"), (7, 5, 1)),
    (lambda: ConvolutionLayer(filters=20, filter_size=1), (3, 2, 17)),
    (lambda: ConvolutionLayer(filters=2, filter_size=2, padding=3), (2, 3, 2)),
    (lambda: ConvolutionLayer(filters=6, filter_size=(3, 2), padding=1, groups=2), (5, 4, 4)),
    (lambda: ConvolutionLayer(filters=6, filter_size=3, stride=2, padding="same", dilation=2, groups=3), (6, 7, 3)),
    (lambda: ConvolutionLayer(filters=4, filter_size=2, dilation=(1, 3)), (4, 7, 1)),
    (lambda: ConvolutionLayer(filters=5, filter_size=3, stride=(1, 2), padding="same", dilation=(2, 3)), (6, 7, 2)),
    (lambda: ConvolutionLayer(filters=4, filter_size=(3, 2), padding=1, dilation=2, groups=2), (5, 4, 4)),
    (lambda: DepthwiseConvolutionLayer(filter_size=3, padding=1), (5, 6, 17)),
    (lambda: DepthwiseConvolutionLayer(filter_size=(2, 4), stride=(3, 2), padding="same", dilation=(2, 1)), (7, 8, 2)),
    (lambda: DepthwiseConvolutionLayer(filter_size=5, multiplier=3, stride=2, padding=(2, 3)), (6, 5, 2)),
    (lambda: TransposedConvolutionLayer(filters=3, filter_size=3), (4, 3, 2)),
    (lambda: TransposedConvolutionLayer(2, (4, 3), stride=(2, 3), padding=(1, 2), output_padding=(1, 0)), (3, 4, 5)),
    (lambda: TransposedConvolutionLayer(2, 3, stride=2, padding=1, output_padding=(1, 2), dilation=(2, 3)), (3, 4, 3)),
    (lambda: TransposedConvolutionLayer(filters=17, filter_size=1, stride=2, output_padding=1), (3, 2, 4)),
    (lambda: PoolLayer(filter_size=2), (6, 4, 3)),
    (lambda: PoolLayer(filter_size=3, stride=1, padding=1), (5, 4, 2)),
    (lambda: PoolLayer(filter_size=(2, 3), stride=(3, 2), padding="same"), (7, 8, 2)),
    (lambda: PoolLayer(filter_size=2, mode="average"), (6, 5, 3)),
    (lambda: PoolLayer(filter_size=3, stride=2, mode="average", padding=1), (5, 6, 2)),
    (lambda: PoolLayer(filter_size=20, stride=1), (20, 21, 2)),
    (lambda: DenseLayer(units=7), (13,)),
    (lambda: Flatten(), (3, 4, 2)),
    (lambda: ReluLayer(), (4, 3, 2)),
    (lambda: ReluLayer(), (9,)),
    (lambda: LeakyReluLayer(slope=0.2), (4, 3, 2)),
    (lambda: PReluLayer(), (4, 3, 5)),
    (lambda: PReluLayer(slope=0.1), (9,)),
    (lambda: EluLayer(alpha=1.5), (4, 3, 2)),
    (lambda: SeluLayer(), (4, 3, 2)),
    (lambda: GeluLayer(), (4, 3, 2)),
    (lambda: SiluLayer(), (4, 3, 2)),
    (lambda: TanhLayer(), (4, 3, 2)),
    (lambda: SoftplusLayer(), (4, 3, 2)),
    (lambda: HardSwishLayer(), (4, 3, 2)),
    (lambda: SoftmaxLayer(), (5,)),
    (lambda: SoftmaxLayer(label_smoothing=0.1, focal=2), (5,)),
    (lambda: SigmoidLayer(), (4, 3, 2)),
    (lambda: SigmoidLayer(focal=2, threshold=0.3), (5,)),
    (lambda: HingeLayer(squared=True), (5,)),
    (lambda: RegressionLayer("huber", delta=2), (5,)),
    (lambda: DropoutLayer(rate=0.5), (4, 3, 2)),
    (lambda: DropoutLayer(rate=0.0), (9,)),
    (lambda: BatchNormLayer(), (5, 4, 3)),
    (lambda: BatchNormLayer(momentum=0.5, epsilon=0.1), (2, 1, 70)),
    (lambda: BatchNormLayer(), (9,)),
    (lambda: PaddingLayer(2), (3, 4, 2)),
    (lambda: PaddingLayer(((1, 0), (0, 3))), (3, 4, 2)),
    (lambda: CroppingLayer((1, 2)), (4, 7, 3)),
    (lambda: CroppingLayer(((1, 0), (0, 3))), (3, 4, 2)),
    (lambda: UpsampleLayer(size=(2, 3)), (3, 2, 4)),
    (lambda: UpsampleLayer(size=(3, 2), mode="bilinear"), (3, 4, 2)),
    (lambda: GlobalPoolLayer(), (5, 4, 3)),
    (lambda: GlobalPoolLayer(mode="max"), (5, 4, 3)),
    (lambda: SpatialDropoutLayer(rate=0.5), (4, 3, 6)),
    (lambda: LayerNormLayer(), (4, 3, 5)),
    (lambda: LayerNormLayer(epsilon=0.1), (70,)),
    (lambda: LayerNormLayer(), (5, 2)),
    (lambda: GroupNormLayer(groups=2), (5, 4, 6)),
    (lambda: GroupNormLayer(groups=1, epsilon=0.1), (3, 2, 70)),
    (lambda: GroupNormLayer(groups=3), (9,)),
    (lambda: ResidualLayer(DenseLayer(units=4), ReluLayer(), DenseLayer(units=6)), (6,)),
    (
        lambda: ResidualLayer(
            ConvolutionLayer(filters=4, filter_size=3, stride=2, padding=1),
            BatchNormLayer(),
            ResidualLayer(ReluLayer(), ConvolutionLayer(filters=4, filter_size=1), DropoutLayer(rate=0.3)),
            shortcut=[PoolLayer(filter_size=2), ConvolutionLayer(filters=4, filter_size=1), BatchNormLayer()],
        ),
        (6, 4, 3),
    ),
    (lambda: ResidualLayer(ReluLayer()), (4, 3, 2)),
    (lambda: StandardizeLayer(mean=[1.5, -2], deviation=[0.5, 3]), (4, 3, 2)),
    (lambda: StandardizeLayer("value", mean=0.5, deviation=[[[1, 2]], [[3, 4]]]), (2, 1, 2)),
    (lambda: StandardizeLayer(mean=0, deviation=[0.1] * 9), (9,)),
]
STEP = 1e-5

pytestmark = pytest.mark.usefixtures("backend")


@pytest.fixture(params=CASES, ids=lambda case: repr(case[0]()))
def case(request):
    make, shape = request.param
    return make(), shape


def well_spaced(rng, shape):
    """Values in random order, none within 20 steps of a tie or of zero: no kink lies between x - step and x + step."""
    count = int(np.prod(shape))
    values = (np.arange(count) - count // 2 + 0.5) * (40 * STEP + 2 / count)
    return rng.permutation(values).reshape(shape)


def training_pass(layer, x, upstream):
    """Output and input gradient; random numbers and running averages are the same for the next pass."""
    with layer.rehearsal():
        return layer.forward(x, training=True), layer.backward(upstream)


def directional_derivative(function, array, direction):
    """Central difference of a scalar function along a direction in `array`."""
    before = array.copy()
    array[...] = before + STEP * direction
    above = function()
    array[...] = before - STEP * direction
    below = function()
    array[...] = before
    return (above - below) / (2 * STEP)


def test_every_layer_is_in_the_list_of_cases():
    assert {type(make()).__name__ for make, _ in CASES} == set(LAYERS)


def test_gradients_equal_central_differences(case, rng):
    layer, shape = case
    layer.build(shape, seed=1, dtype=np.float64)
    for value in layer.params.values():
        value[...] = rng.standard_normal(value.shape)
    x = well_spaced(rng, (3, *shape))
    upstream = rng.standard_normal((3, *layer.output_shape))

    # In training, for that is the function that backward differentiates: dropout draws, batch
    # normalization takes the batch's own mean.
    _, input_gradient = training_pass(layer, x, upstream)
    analytic = {"input": input_gradient, **{key: value.copy() for key, value in layer.grads.items()}}
    for name, array in {"input": x, **layer.params}.items():
        for _ in range(3):
            direction = rng.uniform(-1, 1, array.shape)
            numeric = directional_derivative(
                lambda: np.vdot(upstream, training_pass(layer, x, upstream)[0]), array, direction
            )
            exact = np.vdot(analytic[name], direction)
            assert abs(numeric - exact) <= 1e-7 * max(abs(numeric), abs(exact), 1e-2), name


def test_float32_gives_what_float64_gives(case, rng):
    layer, shape = case
    x, upstream = rng.standard_normal((2, *shape)), None
    results = {}
    for dtype in (np.float32, np.float64):
        layer.build(shape, seed=1, dtype=dtype)
        y = layer.forward(x.astype(dtype), training=True)
        upstream = rng.standard_normal(y.shape) if upstream is None else upstream
        results[dtype] = [y, layer.backward(upstream.astype(dtype)), *layer.grads.values()]
        assert all(array.dtype == dtype for array in results[dtype])
    for single, double in zip(results[np.float32], results[np.float64], strict=True):
        np.testing.assert_allclose(single, double, rtol=1e-4, atol=1e-4)


def test_shapes_are_those_that_build_announces(case, dtype, rng):
    layer, shape = case
    output_shape = layer.build(shape, seed=0, dtype=dtype)
    x = rng.standard_normal((2, *shape)).astype(dtype)
    y = layer.forward(x, training=True)
    assert y.shape == (2, *output_shape)
    assert layer.backward(np.ones_like(y)).shape == x.shape
    assert layer.grads.keys() == layer.params.keys()
    assert all(layer.grads[key].shape == value.shape for key, value in layer.params.items())


def test_an_empty_batch_gives_an_empty_result_and_zero_gradients(case):
    layer, shape = case
    layer.build(shape, seed=0)
    y = layer.forward(np.empty((0, *shape), np.float32), training=True)
    assert y.shape == (0, *layer.output_shape)
    for value in layer.grads.values():
        value[...] = np.nan
    assert layer.backward(y).shape == (0, *shape)
    assert all((value == 0).all() for value in layer.grads.values())


def layouts(x):
    """The same values in every layout that an array may have."""
    yield "contiguous", x
    yield "Fortran order", np.asfortranarray(x)
    wide = np.zeros((*x.shape, 2), x.dtype)
    wide[..., 0] = x
    yield "strided", wide[..., 0]
    yield "reversed", x[::-1].copy()[::-1]
    read_only = x.copy()
    read_only.flags.writeable = False
    yield "read-only", read_only
    yield "byte-swapped", x.astype(x.dtype.newbyteorder())
    unaligned = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    unaligned[...] = x
    yield "unaligned", unaligned
    yield "integers", x.astype(np.int16)
    yield "unsigned bytes", x.astype(np.uint8)
    yield "half precision", x.astype(np.float16)
    yield "nested lists", x.tolist()


def test_every_memory_layout_gives_the_same_result_and_is_left_as_it_was(case, dtype, rng):
    layer, shape = case
    layer.build(shape, seed=0, dtype=dtype)
    x = rng.integers(0, 5, (3, *shape)).astype(dtype)
    upstream = rng.integers(0, 3, (3, *layer.output_shape)).astype(dtype)
    expected = layer.forward(x)
    _, expected_gradient = training_pass(layer, x, upstream)
    for name, array in layouts(x):
        copy = np.array(array)
        np.testing.assert_array_equal(layer.forward(array), expected, err_msg=name)
        np.testing.assert_array_equal(array, copy, err_msg=f"{name}: changed its input")
    for name, array in layouts(upstream):
        np.testing.assert_array_equal(training_pass(layer, x, array)[1], expected_gradient, err_msg=f"gradient, {name}")


def test_backward_without_forward_is_an_error(case):
    layer, shape = case
    layer.build(shape, seed=0)
    x, grad = np.zeros((2, *shape)), np.zeros((2, *layer.output_shape))
    with pytest.raises(RuntimeError, match=f"{layer.name}: backward without forward"):
        layer.backward(grad)
    layer.forward(x)
    with pytest.raises(RuntimeError, match="backward without forward"):
        layer.backward(grad)
    layer.forward(x, training=True)
    layer.backward(grad)
    with pytest.raises(RuntimeError, match="backward without forward"):
        layer.backward(grad)


def test_forward_before_build_is_an_error(case):
    layer, shape = case
    with pytest.raises(RuntimeError, match=f"{layer.name}: forward before build"):
        layer.forward(np.zeros((1, *shape)))


def test_bad_input_names_the_layer_what_was_expected_and_what_came(case):
    layer, shape = case
    layer.build(shape, seed=0)
    batch = ", ".join(str(n) for n in shape)
    wrong_size = np.zeros((2, *shape[:-1], shape[-1] + 1))
    with pytest.raises(ValueError, match=rf"{layer.name}: expected shape \(batch, {batch}\), got") as caught:
        layer.forward(wrong_size)
    assert str(wrong_size.shape) in str(caught.value)
    with pytest.raises(ValueError, match=f"{layer.name}: expected shape"):
        layer.forward(np.zeros((2, *shape, 1)))
    with pytest.raises(ValueError, match=r"X\[np.newaxis\] makes a batch"):
        layer.forward(np.zeros(shape))
    for bad in (np.full((2, *shape), "1"), np.full((2, *shape), None), np.zeros((2, *shape), complex)):
        with pytest.raises(TypeError, match=f"{layer.name}: expected an array of numbers, got dtype"):
            layer.forward(bad)


def test_a_gradient_of_another_shape_or_batch_is_an_error(case):
    layer, shape = case
    layer.build(shape, seed=0)
    for grad in (np.zeros((2, *layer.output_shape, 1)), np.zeros((3, *layer.output_shape))):
        layer.forward(np.zeros((2, *shape)), training=True)
        with pytest.raises(ValueError, match="gradient: expected"):
            layer.backward(grad)


def test_results_belong_to_the_caller(case, rng):
    layer, shape = case
    layer.build(shape, seed=0)
    x = rng.standard_normal((2, *shape)).astype(np.float32)
    first = layer.forward(x, training=True)
    gradient = layer.backward(np.ones_like(first))
    copies = first.copy(), gradient.copy()
    second = layer.forward(2 * x, training=True)
    layer.backward(2 * np.ones_like(second))
    np.testing.assert_array_equal(first, copies[0])
    np.testing.assert_array_equal(gradient, copies[1])


def test_config_makes_an_equal_layer(case, rng):
    layer, shape = case
    twin = make_layer(json.loads(json.dumps(layer.description())))
    assert repr(twin) == repr(layer)
    assert layer.build(shape, seed=3) == twin.build(shape, seed=3)
    x = rng.standard_normal((2, *shape))
    np.testing.assert_array_equal(layer.forward(x), twin.forward(x))


def has_parameters(case):
    make, shape = case
    layer = make()
    layer.build(shape, seed=0)
    return bool(layer.params)


@pytest.mark.parametrize("case_with_parameters", [*filter(has_parameters, CASES)], ids=lambda case: repr(case[0]()))
def test_without_need_for_it_the_input_gradient_is_left_out(case_with_parameters, rng):
    make, shape = case_with_parameters
    layer = make()
    layer.build(shape, seed=0)
    x = rng.standard_normal((2, *shape))
    upstream = rng.standard_normal((2, *layer.output_shape))
    training_pass(layer, x, upstream)
    expected = {key: value.copy() for key, value in layer.grads.items()}
    chain = Chain(fuse([layer], training=True))
    chain.want(below=False)
    chain.bind(Arrays())
    with layer.rehearsal():
        chain.forward(check_batch(x, shape, layer.dtype, "x"))
        assert chain.backward(check_batch(upstream, layer.output_shape, layer.dtype, "upstream")) is None
    for key, value in expected.items():
        np.testing.assert_array_equal(layer.grads[key], value)
