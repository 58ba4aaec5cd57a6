import functools

import numpy as np
import pytest

import cnnx
from cnnx import (
    BatchNormLayer,
    ConvolutionLayer,
    DenseLayer,
    Flatten,
    GlobalPoolLayer,
    Model,
    PoolLayer,
    ReluLayer,
    ResidualLayer,
    SoftmaxLayer,
    StandardizeLayer,
)

pytest.importorskip("sklearn.base")

from cnnx.sklearn import CNNClassifier, defaults

LAYERS = (Flatten(), DenseLayer(3), SoftmaxLayer())


@pytest.fixture
def data(rng):
    return rng.integers(0, 256, (12, 12, 12, 1), np.uint8), np.arange(12) % 3


def fitted(model, data, **arguments):
    return CNNClassifier(model, epochs=1, random_state=0, **arguments).fit(*data)


@pytest.mark.parametrize("name", sorted(cnnx.models.MODELS))
def test_every_ready_network_is_known_by_its_name(name, data):
    network = fitted(name, data).model_
    assert isinstance(network.layers[0], StandardizeLayer)
    assert [layer.description() for layer in network.layers[1:]] == [
        layer.description() for layer in cnnx.models.MODELS[name](3).layers
    ]
    assert network.layers[3].name.startswith("layers[3] (")


def residual(classes):
    block = ResidualLayer(ConvolutionLayer(4, filter_size=3, padding=1), BatchNormLayer())
    return Model(ConvolutionLayer(4, filter_size=3), block, GlobalPoolLayer(), DenseLayer(classes), SoftmaxLayer())


@pytest.mark.parametrize("make", [residual, functools.partial(cnnx.models.resnet, depth=8, width=0.25)])
def test_a_function_is_given_the_number_of_classes(make, data):
    network = fitted(make, data).model_
    assert network.output_shape == (3,)
    for layer in network.layers:
        if isinstance(layer, ResidualLayer):
            assert layer.layers[0].name == f"{layer.name.split()[0]}.layers[0] (ConvolutionLayer)"


def test_a_function_may_give_the_same_network_each_time(data):
    shared = residual(3)
    first, second = (fitted(lambda classes: shared, data).model_ for _ in range(2))
    assert not shared.built
    np.testing.assert_array_equal(first.parameters, second.parameters)
    assert not np.shares_memory(first.parameters, second.parameters)


def test_layers_are_copied_and_may_stand_twice(data):
    relu = ReluLayer()
    layers = (Flatten(), DenseLayer(8), relu, DenseLayer(8), relu, DenseLayer(3), SoftmaxLayer())
    first, second = (fitted(each, data) for each in (layers, list(layers)))
    np.testing.assert_array_equal(first.model_.parameters, second.model_.parameters)
    assert not any(layer.built for layer in layers)
    assert first.model is layers
    assert not set(map(id, first.model_.layers)) & set(map(id, layers))


def test_layers_that_standardize_are_left_to_do_it(data):
    own = StandardizeLayer(mean=128, deviation=64)
    network = fitted((own, *LAYERS), data).model_
    assert len(network.layers) == 4
    assert network.layers[0].state == {"mean": [128], "deviation": [64]}


def test_a_layer_of_ones_own_will_do(data):
    class Halved(ReluLayer):
        def compute(self, x, context):
            return super().compute(x / 2, context)

    assert isinstance(fitted((Flatten(), DenseLayer(3), Halved(), SoftmaxLayer()), data).model_.layers[3], Halved)


def built_model():
    model = Model(Flatten(), DenseLayer(3), SoftmaxLayer())
    model.build((12, 12, 1))
    return model


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (built_model(), TypeError, "got a Model, whose weights clones of the estimator would share"),
        (residual(3), TypeError, "got a Model, whose weights"),
        (tuple(built_model().layers), ValueError, r"expected unbuilt layers, got a built layers\[0\] \(Flatten\)"),
        (lambda classes: built_model(), ValueError, "to give an unbuilt Model, got a built one"),
        (lambda classes: None, TypeError, "to give a Model, got None"),
        (DenseLayer(3), ValueError, "expected 'auto', one of .*'lenet'.*, got DenseLayer"),
        (Model, ValueError, "expected 'auto', one of"),
        ("lennet", ValueError, "expected 'auto', one of .*, got 'lennet'"),
        (7, ValueError, "got 7"),
        ((), ValueError, "expected at least one layer"),
        ((Flatten(), "relu"), TypeError, "expected layers, got 'relu' at position 1"),
        (
            (Flatten(), DenseLayer(3)),
            ValueError,
            "expected an output layer such as SoftmaxLayer at its end, got DenseLayer",
        ),
        ((Flatten(), DenseLayer(3), cnnx.RegressionLayer()), ValueError, "expected SoftmaxLayer or SigmoidLayer or"),
        ((Flatten(), DenseLayer(4), SoftmaxLayer()), ValueError, "expected 3 outputs for 3 classes, got 4"),
        ((PoolLayer(13), *LAYERS), ValueError, r"it does not take examples of shape \(12, 12, 1\)"),
    ],
)
def test_other_models_are_refused(model, error, message, data):
    with pytest.raises(error, match=message):
        fitted(model, data)


def test_a_convolution_on_a_table_hints_at_the_shape(data):
    X, y = data
    with pytest.raises(ValueError, match="image_shape says that rows are pictures"):
        fitted("lenet", (X.reshape(12, -1), y))


# -- "auto" --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 9, 2), (2, 3, 1), (3, 3, 3), (8, 8, 1), (28, 28, 1), (130, 70, 3)])
@pytest.mark.parametrize("few", [False, True])
def test_the_network_that_is_chosen_takes_pictures_of_any_shape(shape, few, rng):
    layers = defaults.hidden_layers(shape, few)
    model = Model(*layers, DenseLayer(2), SoftmaxLayer())
    model.build(shape, seed=0)
    probabilities = model.predict_proba(rng.random((2, *shape)))
    assert probabilities.shape == (2, 2)
    assert any(isinstance(layer, cnnx.DropoutLayer) for layer in layers) is not few


def test_few_examples_are_one_batch():
    assert defaults.are_few((5,), 2_000)
    assert not defaults.are_few((5,), 2_001)
    assert defaults.are_few((8, 8, 1), 100)
    assert not defaults.are_few((8, 8, 1), 101)
    # Not where the batch would be large because they are.
    assert not defaults.are_few((64, 64, 3), 100)
    assert not defaults.are_few((10_000,), 1_000)
    # Repetitions change nothing but the number of examples.
    for shape in [(5,), (8, 8, 1)]:
        assert defaults.recipe(shape, 15, few=True).batch_size == 15
        assert defaults.recipe(shape, 30, few=True)._replace(batch_size=15) == defaults.recipe(shape, 15, few=True)


def test_more_examples_take_fewer_epochs_and_more_steps():
    for shape in [(5,), (28, 28, 1)]:
        recipes = {examples: defaults.recipe(shape, examples, few=False) for examples in (50, 500, 10**4, 10**5, 10**7)}
        epochs = [recipe.epochs for recipe in recipes.values()]
        assert epochs == sorted(epochs, reverse=True)
        assert epochs[-1] >= 4
        steps = [examples * recipe.epochs / recipe.batch_size for examples, recipe in recipes.items()]
        assert steps == sorted(steps)


def test_who_asks_for_mini_batches_gets_the_network_for_them(data):
    kinds = [{type(layer) for layer in fitted("auto", data, batch_size=size).model_.layers} for size in ("auto", 12, 4)]
    assert [cnnx.DropoutLayer in kind for kind in kinds] == [False, False, True]
