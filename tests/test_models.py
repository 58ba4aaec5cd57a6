import itertools

import numpy as np
import pytest
from soak import predictions

import cnnx
from cnnx import BatchNormLayer, Model, PoolLayer
from cnnx.layers.base import leaves
from cnnx.models import MODELS, mobilenet, resnet


@pytest.mark.parametrize(
    ("name", "input_shape", "parameters"),
    [
        ("small", (8, 8, 1), 13_706),
        ("lenet", (28, 28, 1), 61_706),
        ("deck", (32, 32, 3), 77_994),
        ("mnistnet", (28, 28, 1), 34_826),
        ("vggbn", (32, 32, 3), 551_466),
        ("mnistbn", (28, 28, 1), 96_746),
        ("fashionnet", (28, 28, 1), 101_994),
        ("resnet8", (32, 32, 3), 78_378),
        ("resnet14", (32, 32, 3), 175_818),
        ("resnet20", (32, 32, 3), 273_258),
        ("mobilenet", (32, 32, 3), 207_626),
    ],
)
def test_each_network_has_its_published_size_and_trains(name, input_shape, parameters, rng):
    model = MODELS[name](10)
    model.build(input_shape, seed=0)
    assert model.parameter_count == parameters
    X, y = rng.random((4, *input_shape)), np.arange(4)
    losses = [model.train_on_batch(X, y, 0.005) for _ in range(6)]
    assert min(losses[1:]) < losses[0]  # dropout makes some of them larger


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_number_of_classes_can_be_chosen(name):
    model = MODELS[name](3)
    model.build((28, 28, 1), seed=0)
    assert model.output_shape == (3,)


def weights(size, inputs, filters):
    """Parameters of a convolution and of the batch normalization behind it."""
    return size * size * inputs * filters + filters + 2 * filters


@pytest.mark.parametrize(("depth", "width"), [(8, 1), (14, 1), (20, 1), (26, 1), (8, 2), (14, 0.5)])
def test_a_resnet_has_the_parameters_of_its_blocks(depth, width):
    groups = [round(filters * width) for filters in (16, 32, 64)]
    expected = weights(3, 3, groups[0]) + 10 * groups[2] + 10
    expected += sum((depth - 2) // 3 * weights(3, filters, filters) for filters in groups)
    for before, filters in itertools.pairwise(groups):
        expected += weights(3, before, filters) - weights(3, filters, filters) + weights(1, before, filters)
    model = resnet(10, depth, width)
    model.build((32, 32, 3), seed=0)
    assert model.parameter_count == expected


@pytest.mark.parametrize("width", [1, 0.25])
def test_a_mobilenet_has_the_parameters_of_its_blocks(width):
    first, *others = [round(filters * width) for filters in (32, 64, 128, 128, 256, 256, 256)]
    expected = weights(3, 1, first) + 10 * others[-1] + 10
    for before, filters in itertools.pairwise([first, *others]):
        expected += weights(3, 1, before) + weights(1, before, filters)
    model = mobilenet(10, width)
    model.build((28, 28, 1), seed=0)
    assert model.parameter_count == expected


@pytest.mark.parametrize("network", [resnet, mobilenet])
def test_rows_and_columns_are_halved_twice_before_the_mean_of_each_channel(network):
    model = network()
    model.build((30, 27, 3), seed=0)
    shapes = [layer.output_shape for layer in model.layers]
    assert (30, 27) in {shape[:2] for shape in shapes}
    assert (15, 14) in {shape[:2] for shape in shapes}
    assert shapes[-4][:2] == (8, 7)
    assert shapes[-3] == shapes[-4][2:]


@pytest.mark.parametrize("name", ["mnistbn", "fashionnet", "resnet8", "resnet14", "mobilenet"])
def test_a_trained_network_folds_and_comes_back_from_its_file_with_the_same_predictions(name, rng, tmp_path):
    model = MODELS[name](4)
    X, y = rng.random((12, 12, 12, 2)), rng.integers(0, 4, 12)
    model.build((12, 12, 2), seed=0, dtype=np.float64)
    for _ in range(3):
        model.train_on_batch(X, y, 0.05)
    predicted = model.predict_proba(X)
    model.save(tmp_path / "model.safetensors")
    loaded = Model.load(tmp_path / "model.safetensors")
    assert repr(loaded) == repr(model)
    np.testing.assert_array_equal(loaded.predict_proba(X), predicted)
    folded = model.folded()
    # Behind a pooling there are no weights to fold into.
    pools = [layer for layer in leaves(model.layers) if isinstance(layer, PoolLayer)]
    assert sum(isinstance(layer, BatchNormLayer) for layer in leaves(folded.layers)) == len(pools)
    np.testing.assert_allclose(folded.predict_proba(X), predicted, rtol=1e-10, atol=1e-12)


@pytest.mark.skipif(cnnx.backend_in_use() != "compiled", reason="the sums of NumPy's BLAS depend on the batch")
@pytest.mark.usefixtures("restored_kernels")
@pytest.mark.parametrize("instruction_set", predictions.INSTRUCTION_SETS)
@pytest.mark.parametrize("name", sorted(MODELS))
def test_predictions_are_the_same_bits_alone_in_a_batch_on_any_threads_folded_and_loaded(
    name, instruction_set, dtype, tmp_path
):
    compared, other = predictions.differing(name, str(dtype), instruction_set, 3, (1, 2), (1, 3), tmp_path)
    assert compared == 48
    assert not other


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: resnet(depth=9), ValueError, r"resnet: depth: expected 6n \+ 2 such as 8, 14 or 20, got 9"),
        (lambda: resnet(depth=2), ValueError, r"resnet: depth: expected 6n \+ 2"),
        (lambda: resnet(depth="8"), TypeError, r"resnet: depth"),
        (lambda: resnet(width=0), ValueError, r"resnet: width"),
        (lambda: mobilenet(width=-1), ValueError, r"mobilenet: width"),
    ],
)
def test_sizes_that_no_network_has_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
