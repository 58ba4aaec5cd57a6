import numpy as np
import pytest

from cnnx import (
    BatchNormLayer,
    ConvolutionLayer,
    DenseLayer,
    DepthwiseConvolutionLayer,
    DropoutLayer,
    Flatten,
    Model,
    PoolLayer,
    ReluLayer,
    ResidualLayer,
    SoftmaxLayer,
    StandardizeLayer,
)
from cnnx.layers.base import leaves

pytestmark = pytest.mark.usefixtures("backend")
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def network():
    return Model(
        StandardizeLayer(),
        BatchNormLayer(),
        ConvolutionLayer(4, 3, padding=1),
        BatchNormLayer(epsilon=0.01),
        BatchNormLayer(),
        ReluLayer(),
        ResidualLayer(
            BatchNormLayer(),
            ConvolutionLayer(6, 3, stride=2, padding=1),
            BatchNormLayer(),
            ReluLayer(),
            ResidualLayer(ConvolutionLayer(6, 1), BatchNormLayer(), DropoutLayer(0.2)),
            shortcut=[PoolLayer(2, mode="average"), ConvolutionLayer(6, 1), BatchNormLayer()],
        ),
        BatchNormLayer(),
        ReluLayer(),
        ResidualLayer(BatchNormLayer()),
        Flatten(),
        DenseLayer(7),
        BatchNormLayer(),
        DenseLayer(3),
        SoftmaxLayer(),
    )


@pytest.fixture
def trained(dtype, rng):
    """A network whose averages, scales and shifts are far from what they start from."""
    model = network()
    model.build((6, 6, 2), seed=0, dtype=dtype)
    X, y = rng.uniform(0, 5, (24, 6, 6, 2)), rng.integers(0, 3, 24)
    model.train(X, y, 0.05, epochs=3, batch_size=8, seed=0, verbose=False)
    for layer in leaves(model.layers):
        if isinstance(layer, BatchNormLayer):
            layer.params["gamma"][...] = rng.uniform(-2, 2, layer.params["gamma"].shape)
            layer.params["beta"][...] = rng.standard_normal(layer.params["beta"].shape)
    return model, X.astype(dtype)


def test_predictions_stay_the_same(trained, dtype):
    model, X = trained
    before = model.parameters.copy()
    folded = model.folded()
    tolerance = TOLERANCE[dtype.name]
    np.testing.assert_allclose(folded.predict_proba(X), model.predict_proba(X), rtol=tolerance, atol=tolerance)
    assert folded.dtype == dtype
    assert folded.fixed
    assert not model.fixed
    np.testing.assert_array_equal(model.parameters, before)
    assert not any(
        np.shares_memory(folded.parameters, layer.params[key]) for layer in model.layers for key in layer.params
    )


def test_normalization_behind_weights_is_gone_and_the_rest_stays(trained):
    folded = trained[0].folded()
    kinds = [type(layer).__name__ for layer in folded.layers]
    assert kinds == [
        "StandardizeLayer",
        "BatchNormLayer",
        "ConvolutionLayer",
        "ReluLayer",
        "ResidualLayer",
        "BatchNormLayer",
        "ReluLayer",
        "ResidualLayer",
        "Flatten",
        "DenseLayer",
        "DenseLayer",
        "SoftmaxLayer",
    ]
    block = folded.layers[4]
    assert [type(layer).__name__ for layer in block.layers] == [
        "BatchNormLayer",
        "ConvolutionLayer",
        "ReluLayer",
        "ResidualLayer",
    ]
    assert [type(layer).__name__ for layer in block.layers[3].layers] == ["ConvolutionLayer", "DropoutLayer"]
    assert [type(layer).__name__ for layer in block.shortcut] == ["PoolLayer", "ConvolutionLayer"]
    assert [type(layer).__name__ for layer in folded.layers[7].layers] == ["BatchNormLayer"]


def test_weights_worked_by_hand():
    model = Model(DenseLayer(2), BatchNormLayer(epsilon=1), SoftmaxLayer())
    model.build((1,), dtype=np.float64)
    dense, normalization = model.layers[:2]
    dense.params["W"][...], dense.params["b"][...] = [[2, 3]], [1, 5]
    normalization.params["gamma"][...], normalization.params["beta"][...] = [4, 1], [10, 20]
    normalization.state = {"mean": np.array([0.0, 1.0]), "variance": np.array([3.0, 8.0])}
    folded = model.folded().layers[0]
    np.testing.assert_allclose(folded.params["W"], [[4, 1]], rtol=1e-15)  # times 4 / 2 and 1 / 3
    np.testing.assert_allclose(folded.params["b"], [12, 4 / 3 + 20], rtol=1e-15)


def test_depthwise_weights_are_scaled_by_their_channels(rng):
    model = Model(DepthwiseConvolutionLayer((2, 3), multiplier=2), BatchNormLayer(), Flatten(), SoftmaxLayer())
    model.build((4, 5, 3), seed=0, dtype=np.float64)
    depthwise, normalization = model.layers[:2]
    normalization.params["gamma"][...] = rng.uniform(-2, 2, 6)
    normalization.params["beta"][...] = rng.standard_normal(6)
    normalization.state = {"mean": rng.standard_normal(6), "variance": rng.uniform(0.5, 2, 6)}
    folded = model.folded()
    assert [type(layer).__name__ for layer in folded.layers] == ["DepthwiseConvolutionLayer", "Flatten", "SoftmaxLayer"]
    for channel, filters in np.ndindex(3, 2):
        output = channel * 2 + filters
        scale = normalization.params["gamma"][output] / np.sqrt(normalization.state["variance"][output] + 1e-5)
        W = depthwise.params["W"][:, :, channel, filters] * scale
        np.testing.assert_allclose(folded.layers[0].params["W"][:, :, channel, filters], W, rtol=1e-12)
    X = rng.standard_normal((7, 4, 5, 3))
    np.testing.assert_allclose(folded.predict_proba(X), model.predict_proba(X), rtol=1e-12)


def test_a_folded_model_can_be_saved_loaded_and_folded_again(trained, tmp_path):
    model, X = trained
    folded = model.folded()
    folded.save(tmp_path / "model")
    loaded = Model.load(tmp_path / "model")
    assert repr(loaded) == repr(folded) == repr(loaded.folded())
    np.testing.assert_array_equal(loaded.folded().predict_proba(X), folded.predict_proba(X))


def test_a_model_that_is_not_built_is_refused():
    with pytest.raises(RuntimeError, match=r"Model\.folded: the model is not built"):
        network().folded()
