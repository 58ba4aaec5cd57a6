import numpy as np
import pytest

from cnnx import ConvolutionLayer, DenseLayer, Flatten, Model, SoftmaxLayer
from cnnx.layers.activation import (
    EluLayer,
    GeluLayer,
    HardSwishLayer,
    LeakyReluLayer,
    PReluLayer,
    ReluLayer,
    SeluLayer,
    SiluLayer,
    SoftplusLayer,
    TanhLayer,
)

# Outputs and gradients that PyTorch 2.13 gives in float64.
INPUTS = [-4.0, -2.5, -1.0, -0.1, 0.0, 0.3, 1.7, 3.5]
PYTORCH = [
    (
        LeakyReluLayer(),
        [-0.04, -0.025, -0.01, -0.001, 0.0, 0.3, 1.7, 3.5],
        [0.01, 0.01, 0.01, 0.01, 0.01, 1.0, 1.0, 1.0],
    ),
    (
        EluLayer(alpha=1.5),
        [-1.472526542, -1.376872502, -0.9481808382, -0.1427438729, 0.0, 0.3, 1.7, 3.5],
        [0.02747345833, 0.1231274979, 0.5518191618, 1.357256127, 1.5, 1.0, 1.0, 1.0],
    ),
    (
        SeluLayer(),
        [-1.725898628, -1.613785759, -1.111330738, -0.1673052726, 0.0, 0.3152102962, 1.786191679, 3.677453456],
        [0.03220071266, 0.144313582, 0.646768603, 1.590794068, 1.758099341, 1.050700987, 1.050700987, 1.050700987],
    ),
    (
        GeluLayer(),
        [-0.0001266849673, -0.01552416331, -0.1586552539, -0.04601721627, 0.0, 0.1853734267, 1.624238713, 3.499185798],
        [-0.0005036496612, -0.03761108591, -0.08331547059, 0.420476908, 0.5, 0.7323277668, 1.115317969, 1.00282176],
    ),
    (
        SiluLayer(),
        [-0.07194483985, -0.1896454501, -0.2689414214, -0.04750208125, 0.0, 0.172332755, 1.437409049, 3.397407192],
        [-0.05266461489, -0.09940111134, 0.07232948813, 0.4500832085, 0.5, 0.6477800103, 1.067564505, 1.070273353],
    ),
    (
        TanhLayer(),
        [-0.9993292997, -0.9866142982, -0.761594156, -0.09966799462, 0.0, 0.2913126125, 0.9354090706, 0.9981778976],
        [0.001340950683, 0.02659222668, 0.4199743416, 0.9900662908, 1.0, 0.9151369618, 0.1250098706, 0.00364088472],
    ),
    (
        SoftplusLayer(),
        [
            0.01814992792,
            0.07888973429,
            0.3132616875,
            0.6443966601,
            0.6931471806,
            0.8543552445,
            1.867786029,
            3.529750418,
        ],
        [0.01798620996, 0.07585818002, 0.2689414214, 0.4750208125, 0.5, 0.5744425168, 0.8455347349, 0.9706877692],
    ),
    (
        HardSwishLayer(),
        [0.0, -0.2083333333, -0.3333333333, -0.04833333333, 0.0, 0.165, 1.331666667, 3.5],
        [0.0, -0.3333333333, 0.1666666667, 0.4666666667, 0.5, 0.6, 1.066666667, 1.0],
    ),
]


@pytest.mark.usefixtures("backend")
def test_relu_is_the_positive_part_with_gradient_zero_at_zero(dtype):
    layer = ReluLayer()
    layer.build((5,), dtype=dtype)
    y = layer.forward([[-2, -0.0, 0, 3, np.inf]], training=True)
    np.testing.assert_array_equal(y, [[0, 0, 0, 3, np.inf]])
    np.testing.assert_array_equal(layer.backward([[1, 2, 3, 4, 5]]), [[0, 0, 0, 4, 5]])


@pytest.mark.usefixtures("backend")
def test_nan_stays_nan():
    layer = ReluLayer()
    layer.build((2,))
    y = layer.forward([[np.nan, 1]], training=True)
    np.testing.assert_array_equal(y, [[np.nan, 1]])
    np.testing.assert_array_equal(layer.backward([[7, 8]]), [[7, 8]])


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(("layer", "outputs", "slopes"), PYTORCH, ids=lambda value: getattr(value, "name", ""))
def test_values_and_gradients_are_those_of_pytorch(layer, outputs, slopes, dtype):
    layer.build((len(INPUTS),), dtype=dtype)
    tolerance = 1e-6 if dtype == np.float32 else 1e-9
    upstream = np.arange(1, len(INPUTS) + 1)
    y = layer.forward([INPUTS], training=True)
    np.testing.assert_allclose(y, [outputs], rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(layer.backward([upstream]), [upstream * slopes], rtol=4 * tolerance, atol=4 * tolerance)


@pytest.mark.usefixtures("backend")
def test_prelu_learns_a_slope_for_each_channel(dtype):
    layer = PReluLayer()
    layer.build((2,), dtype=dtype)
    np.testing.assert_array_equal(layer.params["slope"], [0.25, 0.25])
    layer.params["slope"][...] = 0.25, -0.5
    y = layer.forward([[-1, -2], [3, 4], [-5, 6]], training=True)
    np.testing.assert_array_equal(y, [[-0.25, 1], [3, 4], [-1.25, 6]])
    np.testing.assert_array_equal(layer.backward([[1, 2], [3, 4], [5, 6]]), [[0.25, -1], [3, 4], [1.25, 6]])
    np.testing.assert_array_equal(layer.grads["slope"], [-26, -4])


@pytest.mark.usefixtures("backend")
def test_selu_keeps_mean_0_and_variance_1_of_a_deep_network(rng):
    model = Model(*(layer for _ in range(8) for layer in (DenseLayer(units=300), SeluLayer())), SoftmaxLayer())
    model.build((300,), seed=0)
    x = rng.standard_normal((200, 300)).astype(np.float32)
    for layer in model.layers[:-1]:
        x = layer.forward(x)
    assert abs(x.mean()) < 0.1
    assert 0.7 < x.var() < 1.3


@pytest.mark.parametrize(
    ("activation", "variance"),
    [(LeakyReluLayer, 2 / 27), (PReluLayer, 2 / 27), (EluLayer, 2 / 27), (SeluLayer, 1 / 27), (TanhLayer, 2 / 1827)],
)
def test_an_activation_decides_the_starting_weights_before_it(activation, variance):
    model = Model(ConvolutionLayer(filters=200, filter_size=3), activation(), Flatten(), SoftmaxLayer())
    model.build((4, 4, 3), seed=0)
    assert model.layers[0].params["W"].var() == pytest.approx(variance, rel=0.06)


@pytest.mark.parametrize(("layer", "argument"), [(LeakyReluLayer, "slope"), (PReluLayer, "slope"), (EluLayer, "alpha")])
def test_bad_arguments_are_named(layer, argument):
    for value in (0, -1, np.nan, np.inf):
        with pytest.raises(ValueError, match=f"^{layer.__name__}: {argument}: expected a finite number above 0, got"):
            layer(**{argument: value})
    with pytest.raises(TypeError, match=f"^{layer.__name__}: {argument}: expected a number, got 'a'"):
        layer(**{argument: "a"})


def test_prelu_without_channels_is_an_error():
    with pytest.raises(ValueError, match=r"PReluLayer: expected examples of shape \(..., channels\), got \(\)"):
        PReluLayer().build(())
